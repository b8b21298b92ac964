//! The cause of an invalid name: the server, unless the client's texts made it invalid.

use std::{borrow::Cow, cmp::Reverse};

use channel_layer::MAX_NAME_LENGTH;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{context::Context, last_text::LastText};
use crate::{
    error::{Error, MisuseError, Result},
    frame,
    scope::Scope,
};

impl Context {
    /// Parses a name that a consumer passed to `call`.
    #[track_caller]
    pub(crate) fn name<T, N>(&self, call: &'static str, name: N) -> Result<T>
    where
        T: for<'a> TryFrom<&'a str>,
        N: TryInto<T, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        parse_name(&self.scope, &self.last_text, call, name)
    }
}

/// Parses a name that a consumer passed to `call`, after its client sent `last_text`.
#[track_caller]
pub(super) fn parse_name<T, N>(scope: &Scope, last_text: &LastText, call: &'static str, name: N) -> Result<T>
where
    T: for<'a> TryFrom<&'a str>,
    N: TryInto<T, Error: Into<channel_layer::Error>> + AsRef<str>,
{
    // A copy only of what will be asked for.
    let doubtful = may_be_invalid(name.as_ref()).then(|| name.as_ref().to_owned());
    let fault = match name.try_into() {
        Ok(name) => return Ok(name),
        Err(fault) => fault.into(),
    };
    let is_valid = |name: &str| T::try_from(name).is_ok();
    if doubtful.is_some_and(|name| has_client_made(scope, last_text, &name, is_valid)) {
        return Err(Error::bad_input(fault));
    }
    Err(Error::Misuse(MisuseError::new(call, fault)))
}

fn has_client_made(scope: &Scope, last_text: &LastText, name: &str, is_valid: impl Fn(&str) -> bool) -> bool {
    let mut texts = Vec::new();
    let params = scope.param_pairs().map(|(_, value)| Cow::from(value));
    let query = scope.uri.query().unwrap_or_default().split('&');
    let query = query.filter(|pair| !pair.is_empty()).flat_map(|pair| pair.split('='));
    let path = scope.raw_path().split('/').filter(|part| !part.is_empty());
    texts.extend(params.chain(query.chain(path).map(decoded)));
    if let Some(text) = last_text.get() {
        match frame::read(text) {
            Ok(value) => strings(value, &mut texts),
            Err(_) => texts.push(text.into()),
        }
    }
    if name.is_empty() {
        return texts.iter().any(|text| text.is_empty());
    }
    let mut pieces: Vec<_> = texts.iter().flat_map(|text| pieces(text)).collect();
    pieces.retain(|piece| !piece.is_empty() && name.contains(piece));
    // The longest first: it may hold others.
    pieces.sort_unstable_by_key(|piece| Reverse(piece.len()));
    let harmless = pieces.into_iter().fold(name.to_owned(), |name, piece| name.replace(piece, "x"));
    is_valid(&harmless)
}

fn may_be_invalid(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.is_empty() || name.len() >= MAX_NAME_LENGTH || !name.bytes().all(is_plain)
}

fn decoded(part: &str) -> Cow<'_, str> {
    let spaced = part.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned().into()
}

/// The pieces of a text such as `join lobby` or `join:lobby`: all of it, the rest behind the first word, and each word.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let is_between = |c: char| c.is_whitespace() || matches!(c, ':' | ',' | ';' | '=');
    let rest = text.split_once(is_between).map(|(_, rest)| rest.trim());
    [text, text.trim()].into_iter().chain(rest).chain(text.split(is_between))
}

fn strings(value: Value, texts: &mut Vec<Cow<'_, str>>) {
    // No recursion is deeper than what was parsed, which is bounded.
    match value {
        Value::String(text) => texts.push(text.into()),
        Value::Array(values) => values.into_iter().for_each(|value| strings(value, texts)),
        Value::Object(fields) => fields.into_iter().for_each(|(key, value)| {
            texts.push(key.into());
            strings(value, texts);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
