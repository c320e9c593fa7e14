//! The bill of materials that the image carries is made by a program of its own, which is checked here.

#[path = "../../../xtask/sbom.rs"]
#[expect(dead_code, reason = "the program around it is not run here")]
mod program;

const LOCK: &str = r#"
[[package]]
name = "bytes"
version = "1.12.2"
source = "registry"
checksum = "aa"

[[package]]
name = "serde"
version = "1.0.9"
checksum = "bb"
dependencies = [
 "bytes",
]

[[package]]
name = "weir"
version = "0.1.0"
"#;

#[test]
fn what_cargo_says_becomes_components_and_edges() {
    let tree = "0|weir v0.1.0 (/src)|MIT OR Apache-2.0|\n\
                1|serde v1.0.9|MIT/Apache-2.0|https://example.org/serde\n\
                2|bytes v1.12.2|MIT|git://example.org\n\
                1|quo\"te v2.0.0 (proc-macro)||\n\
                2|bytes v1.12.2|MIT|git://example.org (*)\n";
    let text = program::document(tree, LOCK).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&document["bomFormat"], &document["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    assert_eq!(document["metadata"]["component"]["bom-ref"], "pkg:cargo/weir@0.1.0");
    let components = document["components"].as_array().unwrap();
    assert_eq!(components.len(), 3, "{text}");
    assert_eq!(components[2]["licenses"][0]["expression"], "MIT OR Apache-2.0");
    assert_eq!(components[2]["hashes"][0]["content"], "bb");
    assert_eq!(components[2]["externalReferences"][0]["url"], "https://example.org/serde");
    assert_eq!(components[1]["name"], "quo\"te");
    assert!(
        components[1]["licenses"].is_null()
            && components[1]["hashes"].is_null()
            && components[0]["externalReferences"].is_null()
    );
    let edges = &document["dependencies"];
    let of = |name: &str| {
        let entry = edges.as_array().unwrap().iter().find(|entry| entry["ref"] == format!("pkg:cargo/{name}")).unwrap();
        entry["dependsOn"].as_array().unwrap().len()
    };
    assert_eq!((of("weir@0.1.0"), of("serde@1.0.9"), of("quo\"te@2.0.0"), of("bytes@1.12.2")), (2, 1, 1, 0), "{edges}");
    assert_eq!(program::document(tree, LOCK).unwrap(), text, "the same bytes for the same sources");
}

#[test]
fn what_is_no_tree_is_refused() {
    for tree in ["", "weir v0.1.0", "0|weir 0.1.0|MIT|", "1|weir v0.1.0|MIT|", "0|weir v0.1.0|MIT|\n2|a v1.0.0|MIT|"] {
        assert!(program::document(tree, LOCK).is_err(), "{tree}");
    }
}
