"""Every field of a pod template, and what is thought of it in podTemplate: the user's, ours, or the owner's to allow.

Data: k8s.io/api/core/v1 of Kubernetes 1.37; the limits are those of the pod security standard `restricted`. A field
that stands nowhere here is refused: the training operator would drop it in silence, or nobody has thought of it yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAMES_PODS: Final = "the training operator names the pods"

USERS_IN_POD: Final = frozenset(
    {"affinity", "automountServiceAccountToken", "containers", "dnsConfig", "dnsPolicy", "enableServiceLinks"}
    | {"hostAliases", "hostIPC", "hostNetwork", "hostPID", "hostUsers", "imagePullSecrets", "initContainers"}
    | {"nodeSelector", "os", "preemptionPolicy", "priorityClassName", "resourceClaims", "resources"}
    | {"runtimeClassName", "schedulerName", "schedulingGates", "securityContext", "serviceAccount"}
    | {"serviceAccountName", "tolerations", "topologySpreadConstraints", "volumes"}
)
"""Some of them with limits: `privilege`."""
OURS_IN_POD: Final[Mapping[str, str]] = {
    "restartPolicy": "a failed attempt starts anew with all ranks; see spec.runPolicy.maxAttempts",
    "terminationGracePeriodSeconds": "say it as spec.runPolicy.terminationGracePeriodSeconds",
    "activeDeadlineSeconds": "say it as spec.runPolicy.activeDeadlineSeconds",
    "ephemeralContainers": "a template can't have any",
    "hostname": NAMES_PODS,
    "hostnameOverride": NAMES_PODS,
    "setHostnameAsFQDN": NAMES_PODS,
    "subdomain": NAMES_PODS,
    "nodeName": "it would go past the scheduler, its taints and the queue; say it as spec.scheduling.nodeSelector",
    "shareProcessNamespace": "the supervisor must be process 1 of its container",
    "readinessGates": "it would keep the ranks from finding each other",
    "priority": "say it as spec.scheduling.priorityClassName",
    "overhead": "it comes with runtimeClassName",
    "evictionResponders": "an eviction ends an attempt, and the next one goes on from its checkpoint",
    "schedulingGroup": "say it as spec.scheduling.queue",
}

USERS_IN_CONTAINER: Final = frozenset(
    {"args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "name", "ports"}
    | {"readinessProbe", "resizePolicy", "resources", "restartPolicy", "securityContext", "startupProbe", "stdin"}
    | {"stdinOnce", "terminationMessagePath", "terminationMessagePolicy", "tty", "volumeDevices", "volumeMounts"}
    | {"workingDir"}
)
OURS_IN_CONTAINER: Final[Mapping[str, str]] = {
    "restartPolicyRules": "a failed attempt starts anew with all ranks; see spec.runPolicy.maxAttempts",
}

USERS_VOLUMES: Final = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected"}
    | {"secret"}
)
"""What is the namespace's own, or lives in the pod."""
HOSTS_VOLUMES: Final = frozenset(
    {"awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "fc", "flexVolume", "flocker"}
    | {"gcePersistentDisk", "gitRepo", "glusterfs", "hostPath", "iscsi", "nfs", "photonPersistentDisk"}
    | {"portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume"}
)
"""A folder of the node, or of a server or disk that only a cluster's owner gives to a namespace, as a volume."""

USERS_PROJECTIONS: Final = frozenset({"clusterTrustBundle", "configMap", "downwardAPI", "secret"})
IDENTITIES: Final = frozenset({"podCertificate", "serviceAccountToken"})
"""By which a process would speak as the pod to whoever trusts the cluster."""

POD_CONTEXT: Final = frozenset(
    {"appArmorProfile", "fsGroup", "fsGroupChangePolicy", "runAsGroup", "runAsNonRoot", "runAsUser"}
    | {"seLinuxChangePolicy", "seLinuxOptions", "seccompProfile", "supplementalGroups", "supplementalGroupsPolicy"}
    | {"sysctls", "windowsOptions"}
)
CONTAINER_CONTEXT: Final = frozenset(
    {"allowPrivilegeEscalation", "appArmorProfile", "capabilities", "privileged", "procMount"}
    | {"readOnlyRootFilesystem", "runAsGroup", "runAsNonRoot", "runAsUser", "seLinuxOptions", "seccompProfile"}
    | {"windowsOptions"}
)
HARMLESS: Final[Mapping[str, tuple[object, ...]]] = {
    "privileged": (False,),
    "allowPrivilegeEscalation": (False,),
    "runAsNonRoot": (True,),
    "procMount": ("Default",),
    "seLinuxOptions": (),
    "windowsOptions": (),
}
"""Field of a security context -> the values that take nothing from our own."""
SAFE_SYSCTLS: Final = frozenset(
    {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"}
    | {"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout"}
    | {"net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time"}
    | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem"}
)

METADATA: Final = frozenset({"annotations", "labels"})
UNCONFINED: Final = ("container.apparmor.security.beta.kubernetes.io/", "seccomp.security.alpha.kubernetes.io/")
"""Annotations that older clusters read in the place of a security context."""
RUNTIMES_ANNOTATIONS: Final = (
    "cdi.k8s.io/",
    "devices.nri.io/",
    "io.containerd.",
    "io.katacontainers.",
    "io.kubernetes.cri-o.",
    "mounts.nri.io/",
)
"""Annotations by which a container's runtime gives devices, mounts or programs of the node."""
