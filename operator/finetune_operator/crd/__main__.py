"""`python -m finetune_operator.crd > crds/finetunejobs.yaml`."""

import sys

from finetune_operator.crd import render

sys.stdout.write(render())
