"""A real Kubernetes on one Linux machine, for tests: control plane, nodes, DNS and the Kubeflow training operator.

Law: knows Linux and Kubernetes, and nothing of the operator and the trainer but their manifests' paths. Needs root.
Every process that it starts lives in one cgroup tree, so that `down` finds them all, whatever killed who started them.
"""
