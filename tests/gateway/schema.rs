//! Checks a JSON value against a JSON Schema, as far as the schemas in `docs/schema` use the language; a keyword that
//! is not known here fails the test.

use serde_json::Value;

pub(crate) fn check(schema: &Value, value: &Value, at: &str) {
    for (keyword, wanted) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "title" | "description" => {}
            "const" => assert_eq!(value, wanted, "{at}"),
            "enum" => assert!(wanted.as_array().unwrap().contains(value), "{at}: {value} is none of {wanted}"),
            "minimum" => assert!(value.as_f64().unwrap() >= wanted.as_f64().unwrap(), "{at}: {value} < {wanted}"),
            "type" => {
                let types: Vec<&str> = match wanted {
                    Value::Array(types) => types.iter().map(|one| one.as_str().unwrap()).collect(),
                    one => vec![one.as_str().unwrap()],
                };
                assert!(types.iter().any(|one| has_type(value, one)), "{at}: {value} is no {wanted}");
            }
            "required" => {
                for key in wanted.as_array().unwrap().iter().filter(|_| value.is_object()) {
                    assert!(value.get(key.as_str().unwrap()).is_some(), "{at}: {key} is missing in {value}");
                }
            }
            "properties" => {
                for (key, schema) in wanted.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        check(schema, value, &format!("{at}.{key}"));
                    }
                }
                for key in value.as_object().into_iter().flat_map(serde_json::Map::keys) {
                    assert!(wanted.get(key).is_some(), "{at}: {key} is not in the schema");
                }
            }
            "items" => {
                for (index, value) in value.as_array().unwrap().iter().enumerate() {
                    check(wanted, value, &format!("{at}[{index}]"));
                }
            }
            other => panic!("{at}: the keyword {other} is not known to this test"),
        }
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the type {other} is not known to this test"),
    }
}
