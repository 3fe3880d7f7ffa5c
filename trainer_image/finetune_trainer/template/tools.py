"""Tool formats: how the tools on offer are told to the model, and how its calls are written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A call of a tool; `arguments` is JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolFormat:
    """The two halves of a format, and whether the list of tools prints today's date."""

    tell: Callable[[Sequence[Mapping[str, Any]], date], str]
    call: Callable[[Sequence[Call]], str]
    dated: bool = False


def get(name: str) -> ToolFormat:
    """The format of that name.

    Raises:
        ValueError: not supported yet.
    """
    if name not in FORMATS:
        raise ValueError(f"tool_format {name!r} is not supported yet; supported: {', '.join(FORMATS)}")
    return FORMATS[name]


def tell_tools(tools: str, format_name: str, today: date) -> str:
    """The text that tells the model its tools.

    Args:
        tools: JSON list of tools, each `{name, description, parameters}`, alone or as `{type, function}`.
        format_name: a name of `FORMATS`.
        today: printed by dated formats.

    Raises:
        ValueError: not a JSON list of tools.
    """
    try:
        listed = json.loads(tools)
        functions = [_function(tool) for tool in (listed if isinstance(listed, list) else [listed])]
        return get(format_name).tell(functions, today) if functions else ""
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"tools: not a JSON list of tools with name, description and parameters: {tools!r}"
        ) from error


def write_calls(
    content: str, format_name: str, thought_words: tuple[str, str], tool_call_words: tuple[str, str]
) -> str:
    """A function message in the template's words; a thought before the calls stays as it is.

    Args:
        content: JSON, one call or a list of calls, bare or between `tool_call_words`, after an optional thought.
        format_name: a name of `FORMATS`.
        thought_words: what opens and closes a thought.
        tool_call_words: what opens and closes calls.

    Raises:
        ValueError: the calls are not JSON with name and arguments.
    """
    if wrapped := _between(tool_call_words, content):
        thought, calls = content.replace(wrapped.group(0), ""), wrapped.group(1)
    elif thinking := _between(thought_words, content):
        thought, calls = thinking.group(0), content.replace(thinking.group(0), "")
    else:
        thought, calls = "", content
    return thought + get(format_name).call(_parse_calls(calls))


def _between(words: tuple[str, str], content: str) -> re.Match[str] | None:
    return re.search(f"{re.escape(words[0])}(.*?){re.escape(words[1])}", content, re.DOTALL)


def _parse_calls(text: str) -> list[Call]:
    try:
        parsed = json.loads(text)
        calls = parsed if isinstance(parsed, list) else [parsed]
        return [Call(name=call["name"], arguments=_json(call["arguments"])) for call in calls]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"function call: not JSON with name and arguments: {text!r}") from error


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    function: Mapping[str, Any] = tool["function"] if tool.get("type") == "function" else tool
    return function


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _tell_default(tools: Sequence[Mapping[str, Any]], today: date) -> str:  # noqa: ARG001 - not dated
    told = "\n".join(_tell_default_tool(tool) for tool in tools)
    names = ", ".join(tool["name"] for tool in tools)
    return (
        f"You have access to the following tools:\n{told}\n"
        "Use the following format if using a tool:\n```\n"
        f"Action: tool name (one of [{names}])\n"
        "Action Input: the input to the tool, in a JSON format representing the kwargs "
        '(e.g. ```{"input": "hello world", "num_beams": 5}```)\n```\n'
    )


def _tell_default_tool(tool: Mapping[str, Any]) -> str:
    parameters = tool["parameters"]
    lines = [
        _tell_parameter(name, parameter, required=name in parameters.get("required", []))
        for name, parameter in parameters["properties"].items()
    ]
    args = "".join(f"{line}\n" for line in lines)
    return f"> Tool Name: {tool['name']}\nTool Description: {tool.get('description', '')}\nTool Args:\n{args}"


def _tell_parameter(name: str, parameter: Mapping[str, Any], *, required: bool) -> str:
    notes = [parameter.get("type", "")]
    notes += ["required"] if required else []
    description = parameter.get("description", "")
    one_of = f", should be one of [{', '.join(map(str, parameter['enum']))}]" if parameter.get("enum") else ""
    items = f", where each item should be {parameter['items'].get('type', '')}" if parameter.get("items") else ""
    return f"  - {name} ({', '.join(notes)}): {description}{one_of}{items}"


def _call_default(calls: Sequence[Call]) -> str:
    return "\n".join(f"Action: {call.name}\nAction Input: {call.arguments}" for call in calls)


def _tell_qwen(tools: Sequence[Mapping[str, Any]], today: date) -> str:  # noqa: ARG001 - not dated
    listed = "".join("\n" + _json({"type": "function", "function": tool}) for tool in tools)
    return (
        "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        f"You are provided with function signatures within <tools></tools> XML tags:\n<tools>{listed}\n</tools>\n\n"
        "For each function call, return a json object with function name and arguments within "
        "<tool_call></tool_call> XML tags:\n<tool_call>\n"
        '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )


def _call_qwen(calls: Sequence[Call]) -> str:
    written = (f'{{"name": {_json(call.name)}, "arguments": {call.arguments}}}' for call in calls)
    return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in written)


def _tell_llama3(tools: Sequence[Mapping[str, Any]], today: date) -> str:
    day = f"{today.day:02d} {_MONTHS[today.month - 1]} {today.year}"
    listed = "".join(
        json.dumps({"type": "function", "function": tool}, indent=4, ensure_ascii=False) + "\n\n" for tool in tools
    )
    return (
        f"Cutting Knowledge Date: December 2023\nToday Date: {day}\n\n"
        "You have access to the following functions. To call a function, please respond with JSON for a function "
        'call. Respond in the format {"name": function name, "parameters": dictionary of argument name and its '
        f"value}}. Do not use variables.\n\n{listed}"
    )


def _call_llama3(calls: Sequence[Call]) -> str:
    written = [f'{{"name": {_json(call.name)}, "parameters": {call.arguments}}}' for call in calls]
    return written[0] if len(written) == 1 else f"[{', '.join(written)}]"


FORMATS: Mapping[str, ToolFormat] = {
    "default": ToolFormat(tell=_tell_default, call=_call_default),
    "llama3": ToolFormat(tell=_tell_llama3, call=_call_llama3, dated=True),
    "qwen": ToolFormat(tell=_tell_qwen, call=_call_qwen),
}
