//! One message of Galène's protocol, as JSON over the WebSocket. An absent field and an empty one are the same.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// All fields that any message has; which of them matter depends on `kind_of`, the protocol's `type`.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Message {
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub(crate) kind_of: String,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(crate) version: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) error: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) id: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) replace: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) source: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) dest: String,
    /// The one string whose absence says something: a token's owner may have no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) password: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) token: String,
    #[serde(skip_serializing_if = "is_false", deserialize_with = "or_default")]
    pub(crate) privileged: bool,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(crate) permissions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "or_default")]
    pub(crate) data: Map<String, Value>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Value>,
    #[serde(rename = "noecho", skip_serializing_if = "is_false", deserialize_with = "or_default")]
    pub(crate) no_echo: bool,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) time: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) sdp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) candidate: Option<Value>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rtc_configuration: Option<Value>,
}

impl Message {
    pub(crate) fn new(kind_of: &str) -> Message {
        Message { kind_of: kind_of.into(), ..Message::default() }
    }

    /// A message about the stream `id`.
    pub(crate) fn about(kind_of: &str, id: &str) -> Message {
        Message { id: id.into(), ..Message::new(kind_of) }
    }

    /// What the server itself says to the client `dest`: `error`, `warning`, `kicked`.
    pub(crate) fn from_server(kind: &str, dest: &str, text: &str) -> Message {
        Message {
            kind: kind.into(),
            dest: dest.into(),
            privileged: true,
            value: Some(text.into()),
            ..Message::new("usermessage")
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Takes JSON's `null` for "not there", as Galène does.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
