//! Checks a JSON value against a JSON Schema, as far as the schemas in `docs/schema` use the language; a keyword that
//! is not known here fails the test. Stricter than the language: a property that is not described is an error.

use serde_json::Value;

/// Fails the test where the value is not as the schema has it.
pub(crate) fn check(schema: &Value, value: &Value, at: &str) {
    if let Err(wrong) = valid(schema, schema, value, at) {
        panic!("{wrong}");
    }
}

/// Whether the value is as a part of the schema `root` has it; panics where the schema itself cannot be understood.
pub(crate) fn valid(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let must = |holds: bool, wrong: &dyn Fn() -> String| if holds { Ok(()) } else { Err(format!("{at}: {}", wrong())) };
    for (keyword, wanted) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let pointer = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                valid(root, root.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")), value, at)?;
            }
            "oneOf" => {
                let results: Vec<_> =
                    wanted.as_array().unwrap().iter().map(|one| valid(root, one, value, at)).collect();
                let fits = results.iter().filter(|result| result.is_ok()).count();
                must(fits == 1, &|| format!("{value} fits {fits} of the choices: {results:?}"))?;
            }
            "const" => must(value == wanted, &|| format!("{value} is not {wanted}"))?,
            "enum" => must(wanted.as_array().unwrap().contains(value), &|| format!("{value} is none of {wanted}"))?,
            "minimum" if value.is_number() => {
                must(value.as_f64() >= wanted.as_f64(), &|| format!("{value} < {wanted}"))?;
            }
            "maximum" if value.is_number() => {
                must(value.as_f64() <= wanted.as_f64(), &|| format!("{value} > {wanted}"))?;
            }
            "minimum" | "maximum" => {}
            "type" => {
                let types: Vec<&str> = match wanted {
                    Value::Array(types) => types.iter().map(|one| one.as_str().unwrap()).collect(),
                    one => vec![one.as_str().unwrap()],
                };
                must(types.iter().any(|one| has_type(value, one)), &|| format!("{value} is no {wanted}"))?;
            }
            "required" => {
                for key in wanted.as_array().unwrap().iter().filter(|_| value.is_object()) {
                    must(value.get(key.as_str().unwrap()).is_some(), &|| format!("{key} is missing in {value}"))?;
                }
            }
            "properties" => {
                for (key, inner) in value.as_object().into_iter().flatten() {
                    let known = wanted.get(key).ok_or_else(|| format!("{at}: {key} is not in the schema"))?;
                    valid(root, known, inner, &format!("{at}.{key}"))?;
                }
            }
            "items" => {
                for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
                    valid(root, wanted, inner, &format!("{at}[{index}]"))?;
                }
            }
            "prefixItems" => {
                let (wanted, items) = (wanted.as_array().unwrap(), value.as_array().map_or(&[][..], Vec::as_slice));
                must(wanted.len() == items.len(), &|| format!("{value} has not {} items", wanted.len()))?;
                for (index, (one, inner)) in wanted.iter().zip(items).enumerate() {
                    valid(root, one, inner, &format!("{at}[{index}]"))?;
                }
            }
            other => panic!("{at}: the keyword {other} is not known to this test"),
        }
    }
    Ok(())
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
