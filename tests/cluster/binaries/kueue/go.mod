module finetune.dev/testcluster/kueue

go 1.26.0

// Built in its own directory, with its own go.sum: one of its dependencies is not in the checksum database.
require sigs.k8s.io/kueue v0.19.2
