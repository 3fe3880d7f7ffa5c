{{/* What the operator does in the namespaces that it serves. */}}
{{- define "finetune.namespacedRules" -}}
- apiGroups: [finetune.dev]
  resources: [finetunejobs]
  verbs: [get, list, watch]
- apiGroups: [finetune.dev]
  resources: [finetunejobs/status]
  verbs: [patch]
# Children block their owner's deletion; where OwnerReferencesPermissionEnforcement is on, that needs this right.
- apiGroups: [finetune.dev]
  resources: [finetunejobs/finalizers]
  verbs: [update]
- apiGroups: [kubeflow.org]
  resources: [pytorchjobs]
  verbs: [list, watch, create, patch, delete]
# The Jobs that prepare and export.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Whether a claim can serve as many nodes as the job has.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
# Where Kueue keeps a job: its Workload, and its place in the queue from Kueue's own API server.
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list]
- apiGroups: [visibility.kueue.x-k8s.io]
  resources: [localqueues/pendingworkloads]
  verbs: [get]
# It tells, and it reads why the training operator could not make pods.
- apiGroups: [""]
  resources: [events]
  verbs: [create, list]
{{- end -}}

{{/* What has no namespace: who posts progress shows its token, and kopf looks for the kinds that it serves, and, where
these are named, for the namespaces. */}}
{{- define "finetune.clusterRules" -}}
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [list, watch]
{{- if .Values.namespaces }}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}
{{- end -}}
