"""`python -m finetune_trainer.cli` is `finetune`."""

import sys

from finetune_trainer.cli import main

sys.exit(main())
