"""Pure: types -> the CustomResourceDefinition of FineTuneJob.

Law: the manifest's shape lives in `spec.types`, the keys of spec.training in `finetune_trainer.config`, the status in
`crd.status`; here is how an API server wants to be told. Nothing at run time of the operator imports this room.
"""

import yaml

from finetune_operator.crd.definition import definition

__all__ = ["definition", "render"]

_HEADER = "# Generated from the types: python -m finetune_operator.crd > crds/finetunejobs.yaml\n"


class _Dumper(yaml.SafeDumper):
    """Without anchors, which kubectl reads and people don't."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Every value is written out."""
        return True


def render() -> str:
    """The CRD as YAML, keys in a fixed order."""
    text: str = yaml.dump(definition(), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return _HEADER + text
