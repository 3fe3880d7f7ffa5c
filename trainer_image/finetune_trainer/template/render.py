"""Example to slots: the conversation as the template writes it, before any tokenizer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from finetune_trainer.examples import Example, Message
from finetune_trainer.template.registry import Slot, Slots, Template, Text
from finetune_trainer.template.tools import tell_tools, write_calls


def render(example: Example, template: Template, today: date) -> list[Slots]:
    """One tuple of slots per message; prefix, system text and tools lead the first.

    Raises:
        ValueError: tools or a function call are not the JSON that they should be.
    """
    slots = [_message(message, index, template) for index, message in enumerate(example.messages)]
    slots[0] = (*_opening(example, template, today), *slots[0])
    return slots


def _opening(example: Example, template: Template, today: date) -> Slots:
    system = example.system or template.default_system
    tools = tell_tools(example.tools, template.tool_format, today) if example.tools else ""
    told = _fill(template.system, system + tools) if system or example.tools else ()
    return (*template.prefix, *told)


def _message(message: Message, index: int, template: Template) -> Slots:
    match message.role:
        case "user":
            return _fill(template.user, message.content, turn=index // 2)
        case "assistant":
            return _fill(template.assistant, message.content)
        case "observation":
            return _fill(template.observation, message.content)
        case "function":
            calls = write_calls(
                message.content, template.tool_format, template.thought_words, template.tool_call_words
            )
            return _fill(template.function, calls)


def _fill(slots: Slots, content: str, turn: int = 0) -> Slots:
    return tuple(_fill_slot(slot, content, turn) for slot in slots)


def _fill_slot(slot: Slot, content: str, turn: int) -> Slot:
    if not isinstance(slot, Text):
        return slot
    # The turn first: a message that happens to hold "{{idx}}" stays as it is.
    return replace(slot, text=slot.text.replace("{{idx}}", str(turn)).replace("{{content}}", content, 1))
