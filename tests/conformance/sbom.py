#!/usr/bin/env python3
"""Checks a bill of materials: the shape of CycloneDX 1.6, and that it agrees with Cargo.lock.

    tests/conformance/sbom.py SBOM.json Cargo.lock

Where cyclonedx-python-lib is installed, its copy of the official schema judges as well.
"""

import json
import re
import sys
import tomllib


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    document = json.loads(text)
    with open(sys.argv[2], "rb") as file:
        locked = {f"pkg:cargo/{p['name']}@{p['version']}": p.get("checksum") for p in tomllib.load(file)["package"]}
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
    program = document["metadata"]["component"]
    assert (program["type"], program["name"]) == ("application", "weir"), program
    components = document["components"]
    references = [component["bom-ref"] for component in components]
    assert len(references) == len(set(references)) > 100, len(references)
    for component in components:
        assert component["type"] == "library" and component["purl"] == component["bom-ref"], component
        assert component["purl"] == f"pkg:cargo/{component['name']}@{component['version']}", component
        assert component["licenses"][0]["expression"], component
        [digest] = component["hashes"]
        assert digest == {"alg": "SHA-256", "content": locked[component["purl"]]}, component
        assert re.fullmatch("[0-9a-f]{64}", digest["content"]), component
    known = set(references) | {program["bom-ref"]}
    edges = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    assert set(edges) == known and all(to in known for all in edges.values() for to in all)
    reached, waiting = set(), [program["bom-ref"]]
    while waiting:
        reference = waiting.pop()
        if reference not in reached:
            reached.add(reference)
            waiting += edges[reference]
    assert reached == known, known - reached
    try:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
    except ImportError:
        judged = "the official schema was not asked"
    else:
        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
        assert error is None, error
        judged = "the official schema has no objection"
    print(f"ok    {len(components)} components, all of Cargo.lock and all reached from weir; {judged}")


main()
