#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""validate.py DIRECTORY...: every line that the tests recorded against the program's own schema.

The schema is one `oneOf` over all event types, which a general validator tries one after the other
for every line. Here the branch is picked by source and type, and compiled into closures; the
general validator checks the first lines of each type, so that the closures cannot be wrong alone.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter

import jsonschema

SAMPLES = 50  # lines of each type that the general validator sees, too
SHOWN = 20  # complaints that are printed
RECORDINGS = re.compile(r"^(recording|events)\.\d+\.json$")
KNOWN = {
    "description", "type", "properties", "required", "additionalProperties", "items", "const",
    "enum", "pattern", "minimum", "maximum", "anyOf",
}  # fmt: skip


class Wrong(Exception):
    pass


# ---- one function per keyword: compiled(value) raises Wrong ----


def compile_type(name):
    if isinstance(name, list):
        ways = [compile_type(n)[0] for n in name]
        return lambda v: any(way(v) for way in ways), f"is none of {', '.join(name)}"
    checks = {
        "object": lambda v: isinstance(v, dict),
        "array": lambda v: isinstance(v, list),
        "string": lambda v: isinstance(v, str),
        "boolean": lambda v: isinstance(v, bool),
        "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
        "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    }
    return checks[name], f"is no {name}"


def scalar_checks(schema):
    """(predicate, complaint) of the keywords that look at one value."""
    if "type" in schema:
        yield compile_type(schema["type"])
    if "const" in schema:
        yield lambda v, c=schema["const"]: v == c, f"is not {schema['const']!r}"
    if "enum" in schema:
        yield lambda v, c=frozenset(schema["enum"]): v in c, f"is none of {schema['enum']}"
    if "pattern" in schema:
        yield lambda v, c=re.compile(schema["pattern"]): c.search(v), f"is not like {schema['pattern']}"
    if "minimum" in schema:
        yield lambda v, c=schema["minimum"]: v >= c, f"is below {schema['minimum']}"
    if "maximum" in schema:
        yield lambda v, c=schema["maximum"]: v <= c, f"is above {schema['maximum']}"


def compile_any(schemas, path):
    ways = [compile_schema(s, path) for s in schemas]

    def check(value):
        complaints = []
        for way in ways:
            try:
                return way(value)
            except Wrong as e:
                complaints.append(str(e))
        raise Wrong("; ".join(complaints))

    return check


def compile_members(schema, path):
    members = {k: compile_schema(s, f"{path}.{k}") for k, s in schema.get("properties", {}).items()}
    required = schema.get("required", [])
    closed = schema.get("additionalProperties") is False

    def check(value):
        for key in required:
            if key not in value:
                raise Wrong(f"{path} lacks {key}")
        for key, v in value.items():
            member = members.get(key)
            if member:
                member(v)
            elif closed:
                raise Wrong(f"{path}.{key} is not in the schema")

    return check


def compile_schema(schema, path):
    unknown = set(schema) - KNOWN
    if unknown:
        raise SystemExit(f"validate.py: cannot check {sorted(unknown)} at {path}")
    checks = list(scalar_checks(schema))
    members = compile_members(schema, path) if "properties" in schema else None
    anything = compile_any(schema["anyOf"], path) if "anyOf" in schema else None
    items = compile_schema(schema["items"], path + "[]") if "items" in schema else None

    def check(value):
        for right, complaint in checks:
            if not right(value):
                raise Wrong(f"{path} {complaint}: {value!r}"[:300])
        if anything:
            anything(value)
        if members:
            members(value)
        if items:
            for v in value:
                items(v)

    return check


# ---- a type ----


class EventType:
    def __init__(self, envelope, branch):
        self.keys = list(branch["properties"]["data"]["properties"])
        whole = dict(envelope, properties=dict(envelope["properties"], **branch["properties"]))
        self.check = compile_schema(whole, "event")
        self.reference = jsonschema.Draft202012Validator(whole)
        self.seen = 0

    def check_order(self, data):
        """The order of keys is part of the promise: lines diff."""
        marks = ("truncated", "redacted", "inferred")
        places = [self.keys.index(k) for k in data if k in self.keys and k not in marks]
        if places != sorted(places):
            raise Wrong(f"keys out of order: {list(data)}")

    def validate(self, event):
        self.seen += 1
        self.check(event)
        if self.seen > SAMPLES:
            return
        error = next(self.reference.iter_errors(event), None)
        if error:
            raise Wrong(f"only the general validator complains: {error.message}")
        self.check_order(event["data"])


def load_types(program):
    schema = json.loads(subprocess.run([program, "schema", "--json"], stdout=subprocess.PIPE, check=True).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    envelope = {k: v for k, v in schema.items() if k not in ("$schema", "title", "oneOf")}
    types = {}
    for branch in schema["oneOf"]:
        source = branch["properties"]["source"]["const"]
        name = branch["properties"]["data"]["properties"]["type"]["const"]
        types[source, name] = EventType(envelope, branch)
    return types


# ---- the recordings ----


def find_recordings(tops):
    for top in tops:
        for where, _, names in os.walk(top):
            for name in sorted(names):
                if RECORDINGS.match(name):
                    yield os.path.join(where, name)


def validate_file(path, types, wrong):
    lines = 0
    with open(path, "rb") as f:
        for raw in f:
            if not raw.startswith(b'{"timestamp":'):
                continue  # a command's own output on the same pipe
            lines += 1
            try:
                event = json.loads(raw.decode("utf-8", "strict"))
                key = event["source"], event["data"]["type"]
                if key not in types:
                    raise Wrong(f"no such event type: {key}")
                types[key].validate(event)
            except (Wrong, ValueError, KeyError, TypeError) as e:
                wrong[f"{os.path.relpath(path)}: {e}"] += 1
    return lines


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    types = load_types(os.environ.get("AGENTSIGHT", "./agentsight"))
    wrong = Counter()
    files = lines = 0
    for path in find_recordings(sys.argv[1:]):
        files += 1
        lines += validate_file(path, types, wrong)

    for complaint, times in wrong.most_common(SHOWN):
        print(f"    {complaint}" + (f" ({times} times)" if times > 1 else ""))
    never = [".".join(k) for k, t in types.items() if not t.seen]
    if never:
        print(f"note: no test saw {', '.join(never)}")
    name = "every_recorded_line_agrees_with_the_schema"
    if not lines:
        print(f"skip {name} - nothing was recorded")
        print("0 passed, 0 failed, 1 skipped")
    elif wrong:
        print(f"not ok {name} - {sum(wrong.values())} of {lines} lines do not")
        print("0 passed, 1 failed, 0 skipped")
    else:
        print(f"ok {name} ({lines} lines of {files} files)")
        print("1 passed, 0 failed, 0 skipped")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
