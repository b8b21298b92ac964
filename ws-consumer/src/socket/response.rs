//! Responses in one piece, and the values that convert into them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::{
    error::{BoxError, Error, Result},
    frame::Frame,
    wire::Refuse,
};

/// A whole response to a plain request, for [`Exchange::respond`](crate::Exchange::respond).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpResponse {
    /// Its status. 200 by default.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl HttpResponse {
    /// Creates a response of `value` as JSON.
    ///
    /// # Errors
    /// [`Misuse`](Error::Misuse) for a value that is no JSON.
    #[track_caller]
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        Ok(Self::typed("application/json", Frame::from_json(value)?.into_bytes()))
    }

    /// Creates a response of HTML. The text is sent as it is: escape what clients have sent.
    pub fn html(text: impl Into<String>) -> Self {
        Self::typed("text/html; charset=utf-8", text.into().into())
    }

    fn typed(kind: &'static str, body: Bytes) -> Self {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Self { headers, body, ..Self::default() }
    }
}

impl From<HttpResponse> for Refuse {
    fn from(response: HttpResponse) -> Self {
        let HttpResponse { status, headers, body } = response;
        Self { status, headers, body }
    }
}

/// A value that is a whole response.
///
/// | value | response |
/// |---|---|
/// | a [`StatusCode`] | no body |
/// | `&str`, `String` | plain text |
/// | [`Bytes`], `Vec<u8>` | bytes, `application/octet-stream` |
/// | [`serde_json::Value`] | JSON |
/// | [`HttpResponse`], [`http::Response`] | as it is |
/// | `(status, value)` | that value with the status |
/// | `(status, headers, value)` | the same with headers, which replace the value's: a [`HeaderMap`], or an array of pairs |
/// | a [`Result`] of any of them | that value, or the error |
pub trait IntoHttpResponse {
    /// Makes the response.
    ///
    /// # Errors
    /// Headers that are invalid, and the error of a [`Result`].
    fn into_http_response(self) -> Result<HttpResponse>;
}

/// Headers of a response.
pub trait IntoHeaders {
    /// Makes a map of the headers. A name that occurs several times has all its values.
    ///
    /// # Errors
    /// An invalid name or value.
    fn into_headers(self) -> Result<HeaderMap>;
}

impl IntoHeaders for HeaderMap {
    fn into_headers(self) -> Result<HeaderMap> {
        Ok(self)
    }
}

impl<K, V, const N: usize> IntoHeaders for [(K, V); N]
where
    K: TryInto<HeaderName, Error: Into<BoxError>>,
    V: TryInto<HeaderValue, Error: Into<BoxError>>,
{
    fn into_headers(self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::with_capacity(N);
        for (name, value) in self {
            headers.append(name.try_into().map_err(Error::other)?, value.try_into().map_err(Error::other)?);
        }
        Ok(headers)
    }
}

impl IntoHttpResponse for HttpResponse {
    fn into_http_response(self) -> Result<HttpResponse> {
        Ok(self)
    }
}

impl IntoHttpResponse for StatusCode {
    fn into_http_response(self) -> Result<HttpResponse> {
        Ok(HttpResponse { status: self, ..HttpResponse::default() })
    }
}

impl IntoHttpResponse for &str {
    fn into_http_response(self) -> Result<HttpResponse> {
        self.to_owned().into_http_response()
    }
}

impl IntoHttpResponse for String {
    fn into_http_response(self) -> Result<HttpResponse> {
        Ok(HttpResponse::typed("text/plain; charset=utf-8", self.into()))
    }
}

impl IntoHttpResponse for Bytes {
    fn into_http_response(self) -> Result<HttpResponse> {
        Ok(HttpResponse::typed("application/octet-stream", self))
    }
}

impl IntoHttpResponse for Vec<u8> {
    fn into_http_response(self) -> Result<HttpResponse> {
        Bytes::from(self).into_http_response()
    }
}

impl IntoHttpResponse for serde_json::Value {
    fn into_http_response(self) -> Result<HttpResponse> {
        HttpResponse::json(&self)
    }
}

impl<B: Into<Bytes>> IntoHttpResponse for http::Response<B> {
    fn into_http_response(self) -> Result<HttpResponse> {
        let (head, body) = self.into_parts();
        Ok(HttpResponse { status: head.status, headers: head.headers, body: body.into() })
    }
}

impl<R: IntoHttpResponse> IntoHttpResponse for (StatusCode, R) {
    fn into_http_response(self) -> Result<HttpResponse> {
        let (status, value) = self;
        Ok(HttpResponse { status, ..value.into_http_response()? })
    }
}

impl<H: IntoHeaders, R: IntoHttpResponse> IntoHttpResponse for (StatusCode, H, R) {
    fn into_http_response(self) -> Result<HttpResponse> {
        let (status, headers, value) = self;
        let mut response = (status, value).into_http_response()?;
        response.headers.extend(headers.into_headers()?); // replaces what the value has of a name
        Ok(response)
    }
}

impl<R: IntoHttpResponse> IntoHttpResponse for Result<R> {
    fn into_http_response(self) -> Result<HttpResponse> {
        self?.into_http_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_responses() {
        let text = "text/plain; charset=utf-8";
        let json = serde_json::json!({ "a": 1 });
        for (response, status, kind, body) in [
            (StatusCode::GONE.into_http_response(), 410, None, ""),
            ("a".into_http_response(), 200, Some(text), "a"),
            ((StatusCode::CREATED, "a".to_owned()).into_http_response(), 201, Some(text), "a"),
            (vec![b'a'].into_http_response(), 200, Some("application/octet-stream"), "a"),
            (json.clone().into_http_response(), 200, Some("application/json"), r#"{"a":1}"#),
            (HttpResponse::json(&json).into_http_response(), 200, Some("application/json"), r#"{"a":1}"#),
            (HttpResponse::html("<b>").into_http_response(), 200, Some("text/html; charset=utf-8"), "<b>"),
            (
                (StatusCode::OK, [("content-type", "text/css")], "a").into_http_response(),
                200,
                Some("text/css"),
                "a",
            ),
            (http::Response::new("a").into_http_response(), 200, None, "a"),
        ] {
            let response = response.unwrap();
            let found = response.headers.get("content-type").map(|kind| kind.to_str().unwrap());
            assert_eq!(
                (response.status.as_u16(), found, &response.body[..]),
                (status, kind, body.as_bytes())
            );
            assert!(response.headers.len() <= 1);
        }
    }

    #[test]
    fn headers_may_repeat() {
        let cookies = [(header::SET_COOKIE, "a=1"), (header::SET_COOKIE, "b=2")];
        let response = (StatusCode::OK, cookies, "").into_http_response().unwrap();
        assert_eq!(response.headers.get_all("set-cookie").iter().count(), 2);
        for (name, value) in [("a b", "c"), ("a", "b\nc")] {
            assert!((StatusCode::OK, [(name, value)], "").into_http_response().is_err(), "{name}: {value}");
        }
    }
}
