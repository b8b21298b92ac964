//! The query of a request, and forms, which have the same format.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A query or a form that does not fit its type. Counts as [bad input](Error::BadInput).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError(String);

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for QueryError {}

/// Deserializes pairs of names and values. `part` names them in errors.
pub(crate) fn parse_form<T: DeserializeOwned>(part: &str, text: &[u8]) -> Result<T> {
    let parsed = serde_html_form::Deserializer::from_bytes(text);
    serde_path_to_error::deserialize(parsed)
        .map_err(|fault| Error::bad_input(QueryError(format!("{part}: {fault}"))))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::scope::Scope;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Search {
        q: String,
        page: Option<u32>,
        #[serde(default)]
        tag: Vec<String>,
    }

    fn scope(query: &str) -> Scope {
        Scope { uri: format!("/x{query}").parse().unwrap(), ..Scope::default() }
    }

    #[test]
    fn values_are_found_and_decoded() {
        for (query, value) in [
            ("", None),
            ("?", None),
            ("?y=1", None),
            ("?x", Some("")),
            ("?x=", Some("")),
            ("?x=1&x=2", Some("1")),
            ("?y=1&x=a+b%20c%26", Some("a b c&")),
            ("?%78=1", Some("1")),
            ("?x=%ff", Some("\u{fffd}")),
            ("?x=a=b", Some("a=b")),
        ] {
            assert_eq!(scope(query).query("x").as_deref(), value, "{query}");
        }
    }

    #[test]
    fn queries_fill_structs() {
        let search = |query: &str| scope(query).query_as::<Search>();
        let tags = ["a", "b c"].map(String::from).to_vec();
        assert_eq!(
            search("?q=1&tag=a&page=2&tag=b+c").unwrap(),
            Search { q: "1".into(), page: Some(2), tag: tags }
        );
        for (query, fault) in [
            ("", "query: missing field `q`"),
            ("?page=2", "query: missing field `q`"),
            ("?q=a&page=b", "query: page: invalid digit found in string"),
            ("?q=a&q=b", "query: q: "),
        ] {
            let error = search(query).unwrap_err();
            let Error::BadInput(cause) = &error else { panic!("{query}: {error:?}") };
            assert!(cause.is::<QueryError>() && cause.to_string().starts_with(fault), "{query}: {cause}");
        }
    }
}
