# Every command of this repository. `make quickstart` and `make test` do all the set-up on a fresh machine.
PYTHON ?= python3
RUN := .venv/bin/python
PYTEST := $(RUN) -m pytest
CHART := helm/finetune-operator
PARALLEL := OMP_NUM_THREADS=1 $(PYTEST) -n 2 --dist loadfile

.PHONY: quickstart test test-fast test-full check format golden crds constraints gitops bench-jobs bench-preprocess bench-train bench-estimate parity faults faults-operator rights refusals keys examples whole-datasets golden-peer chat-templates measures images cluster-up cluster-down cluster-status environment clean

quickstart: environment     ## train SmolLM2 on this machine and ask it who it is, before and after
	$(RUN) dev/quickstart.py

test: check                 ## everything that a change needs, the cluster tests among them
	$(PARALLEL) -m "not slow and not cluster and not train"
	$(PARALLEL) -m "train and not slow" --durations 20
	$(RUN) -m tests.cluster.harness build
	$(PYTEST) -m "cluster and not slow" --durations 15

test-fast: check            ## without a cluster and without training: under four minutes
	$(PARALLEL) -m "not slow and not cluster and not train"

test-full: check            ## and what is slow: real images, chaos, scale
	$(RUN) -m tests.cluster.harness build
	$(PYTEST)

check: environment          ## formatting, lint, types, generated files
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m finetune_operator.crd | diff - crds/finetunejobs.yaml
	diff crds/finetunejobs.yaml $(CHART)/files/finetunejobs.yaml

format: environment
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

golden: environment         ## write the golden files anew; read the diff before you commit it
	$(PYTEST) tests/golden tests/helm --update-golden

crds: environment           ## write the CRD anew from the types; the chart has a copy, because Flux follows no links
	$(RUN) -m finetune_operator.crd > crds/finetunejobs.yaml
	cp crds/finetunejobs.yaml $(CHART)/files/finetunejobs.yaml

constraints: environment    ## write the exact versions of this environment down
	$(RUN) dev/environment.py --freeze

bench-jobs: environment     ## 1,000 jobs at once, 10,000 that have ended, one of 64 nodes: seconds, requests, memory
	$(RUN) -m benchmarks.scale

bench-preprocess: environment ## rows a second beside LLaMA-Factory's; `-m benchmarks.preprocess --rows 3000000` for memory
	$(RUN) -m benchmarks.preprocess

bench-train: environment    ## tokens a second and memory beside the bare Trainer and LLaMA-Factory
	$(RUN) -m benchmarks.train

bench-estimate: environment ## memory as `finetune estimate` tells it beside measured peaks
	$(RUN) -m benchmarks.estimate

bench-recovery: environment ## what a checkpoint costs, and seconds from a pod's death to the next first step
	$(RUN) -m benchmarks.recovery

parity: environment         ## losses of every method beside LLaMA-Factory's, step by step
	$(RUN) -m benchmarks.parity

faults: environment         ## docs/faults.md: what breaks on purpose, under five seeds, and what became of it; hours
	$(RUN) -m dev.faults_table

refusals: environment       ## docs/refusals.md: what kubectl apply says of 18 mistakes, by a real API server
	$(RUN) -m dev.refusals_table

rights: environment         ## docs/security.md: what `kubectl auth can-i` says of the operator's account in each mode
	$(RUN) -m dev.rights_table

faults-operator: environment ## docs/faults-operator.md: what breaks around the operator, by a proxy and by kills; 25 minutes
	$(RUN) -m dev.faults_operator_table

gitops: environment         ## docs/gitops.md: what kstatus, Flux, Argo CD and kubectl wait say of a job in every state
	$(RUN) -m dev.gitops_table

keys: environment           ## docs/keys.md: every key, its effect, and the test that shows it
	$(RUN) -m dev.keys_table --write

examples: environment       ## docs/llamafactory-examples.md: what becomes of LLaMA-Factory's own YAMLs; each runs two steps
	$(RUN) -m tests.conformance.llamafactory_examples --write --run

whole-datasets: environment ## whole data sets: ours beside what LLaMA-Factory made of them
	$(RUN) -m tests.conformance.whole_datasets

golden-peer: environment    ## write that anew, in LLaMA-Factory's own environment (6 GB, once)
	$(RUN) -m tests.conformance.whole_datasets --make

chat-templates: environment ## templates against the chat templates of real tokenizers, and what we save
	$(RUN) -m dev.tokenizers_npm
	$(RUN) -m tests.conformance.chat_templates

measures: environment       ## sizes of files and functions beside the house's measures
	@$(RUN) dev/measures.py

images: environment         ## build both images with buildah
	$(RUN) images/build.py

cluster-up: environment     ## a real two-node Kubernetes with the training operator, on this machine
	$(RUN) -m tests.cluster.harness up

cluster-down:
	$(RUN) -m tests.cluster.harness down

cluster-status:
	$(RUN) -m tests.cluster.harness status

environment:
	@$(PYTHON) dev/environment.py

clean:
	rm -rf .venv runs .finetune .mypy_cache .ruff_cache .pytest_cache
