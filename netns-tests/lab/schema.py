"""JSON Schema (2020-12), as far as schemas made from Rust types need it. What it does not know is an error."""
KNOWN = {"$schema", "$id", "$defs", "$ref", "title", "description", "type", "format", "properties", "required", "items",
         "additionalProperties", "oneOf", "anyOf", "enum", "const", "minimum", "maximum", "default"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def is_type(value, name):
    if name in ("integer", "number"):
        numbers = int if name == "integer" else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def mistakes(value, schema, root=None, path="$"):
    """All that is wrong with a value, each with its place; and properties that the schema does not describe."""
    root = schema if root is None else root
    if schema is True:
        return []
    unknown = set(schema) - KNOWN
    assert not unknown, f"this validator does not know {unknown}"
    found = []
    if "$ref" in schema:
        found += mistakes(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, path)
    wanted = schema.get("type", [])
    wanted = wanted if isinstance(wanted, list) else [wanted]
    if wanted and not any(is_type(value, name) for name in wanted):
        return [*found, f"{path}: {value!r} is no {' or '.join(wanted)}"]
    for word in ("oneOf", "anyOf"):
        fitting = [one for one in schema.get(word, []) if not mistakes(value, one, root, path)]
        if word in schema and (len(fitting) != 1 if word == "oneOf" else not fitting):
            found.append(f"{path}: {value!r} fits {len(fitting)} of {word}")
    if "enum" in schema and value not in schema["enum"] or "const" in schema and value != schema["const"]:
        found.append(f"{path}: {value!r} is not allowed")
    if is_type(value, "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{path}: {value} is out of range")
    if isinstance(value, list):
        for at, item in enumerate(value):
            found += mistakes(item, schema.get("items", True), root, f"{path}[{at}]")
    if isinstance(value, dict):
        properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
        found += [f"{path}: {name} is missing" for name in schema.get("required", []) if name not in value]
        for name, item in value.items():
            if name not in properties and not isinstance(rest, dict) and (properties or rest is False):
                found.append(f"{path}.{name} is not described")
            wanted = properties.get(name, rest if isinstance(rest, dict) else True)
            found += mistakes(item, wanted, root, f"{path}.{name}")
    return found
