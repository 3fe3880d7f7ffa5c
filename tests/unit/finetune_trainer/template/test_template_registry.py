"""The registry: what stands in templates.yaml, and names that don't."""

from __future__ import annotations

import pytest

from finetune_trainer import template as templates
from finetune_trainer.template.registry import Special, Text


def test_a_template_is_read_with_its_defaults() -> None:
    telechat2 = templates.get("telechat2")
    assert telechat2.user == telechat2.observation == (Text("<_user>{{content}}<_bot>"),)
    assert telechat2.assistant == telechat2.function == (Text("{{content}}"), Special("eos"))
    assert telechat2.prefix == ()
    assert telechat2.tool_format == "default"
    assert not telechat2.replace_eos


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(templates.TemplateUnknown, match="'llama-3' is not known; did you mean llama3"):
        templates.get("llama-3")
    with pytest.raises(templates.TemplateUnknown, match="known: alpaca, chatml, default, llama3, qwen"):
        templates.get("zzz")


def test_another_default_system_leaves_the_registry_alone() -> None:
    other = templates.get("qwen").with_default_system("Be brief.")
    assert other.default_system == "Be brief."
    assert templates.get("qwen").default_system.startswith("You are Qwen")
    assert templates.get("qwen").with_default_system("").default_system == ""
