//! Cross-origin resource sharing: what scripts of pages from elsewhere may ask for, and read.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use lattice::model::manifest::parse_duration;
use lattice_provider::http::Body;
use serde::Deserialize;

use crate::{config::ConfigError, respond::text};

/// As a manifest has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CorsConfig {
    /// Such as `https://app.example.com`; `*` is every origin.
    origins: Vec<String>,
    methods: Option<Vec<String>>,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    expose: Vec<String>,
    max_age: Option<String>,
    #[serde(default)]
    credentials: bool,
}

/// What pages of other origins may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// `None` for every origin.
    origins: Option<Vec<HeaderValue>>,
    methods: HeaderValue,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: HeaderValue,
    credentials: bool,
}

/// What a page may use when the settings name no methods.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// How long a browser remembers an answer, in seconds.
const MAX_AGE: u64 = 300;

fn list(key: &'static str, values: &[String], is_one: impl Fn(&str) -> bool) -> Result<HeaderValue, ConfigError> {
    if let Some(bad) = values.iter().find(|value| !is_one(value)) {
        return Err(ConfigError::value(key, bad, "a name, such as GET of a method or x-api-key of a header"));
    }
    let joined = values.join(", ");
    HeaderValue::from_str(&joined).map_err(|_| ConfigError::value(key, joined, "a list of names"))
}

fn is_header(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// Scheme, host and perhaps a port, as a browser sends it.
fn is_origin(origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(scheme, rest)| {
        matches!(scheme, "http" | "https")
            && !rest.contains(['@', '/'])
            && rest.parse::<http::uri::Authority>().is_ok()
            && origin.to_ascii_lowercase() == origin
    })
}

impl Cors {
    pub(crate) fn new(config: CorsConfig) -> Result<Self, ConfigError> {
        let any = config.origins.iter().any(|origin| origin == "*");
        if any && config.credentials {
            let expected = "possible with origins: [\"*\"]: name the origins that may send cookies";
            return Err(ConfigError::value("cors.credentials", "true", expected));
        }
        let origin = |text: &String| {
            HeaderValue::from_str(text)
                .ok()
                .filter(|_| is_origin(text))
                .ok_or_else(|| ConfigError::value("cors.origins", text, "an origin such as https://app.example.com"))
        };
        if config.origins.is_empty() {
            return Err(ConfigError::value("cors.origins", "[]", "a list of origins, or [\"*\"]"));
        }
        let origins = if any { None } else { Some(config.origins.iter().map(origin).collect::<Result<_, _>>()?) };
        let methods = config.methods.unwrap_or_else(|| METHODS.map(str::to_owned).to_vec());
        let seconds = match &config.max_age {
            None => MAX_AGE,
            Some(text) => parse_duration(text)
                .ok_or_else(|| ConfigError::value("cors.maxAge", text, "a time such as 10m"))?
                .as_secs(),
        };
        let some = |key, names: &[String]| (!names.is_empty()).then(|| list(key, names, is_header)).transpose();
        Ok(Self {
            origins,
            methods: list("cors.methods", &methods, |name| Method::from_bytes(name.as_bytes()).is_ok())?,
            headers: some("cors.headers", &config.headers)?,
            expose: some("cors.expose", &config.expose)?,
            max_age: HeaderValue::from(seconds),
            credentials: config.credentials,
        })
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.origins.as_ref().is_none_or(|origins| origins.contains(origin))
    }

    fn origin_headers(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        let value = if self.origins.is_some() { origin.clone() } else { HeaderValue::from_static("*") };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// The answer to a browser that asks beforehand; `None` for any other request.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
        let origin = headers.get(header::ORIGIN)?;
        if *method != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        if !self.allows(origin) {
            return Some(text(StatusCode::FORBIDDEN, "pages of this origin may not ask this server\n"));
        }
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        self.origin_headers(origin, answer);
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        if let Some(names) = &self.headers {
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        answer.insert(header::VARY, HeaderValue::from_static("origin"));
        Some(response)
    }

    /// Tells the browser whether the page may read the response.
    pub(crate) fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        // What the component says itself would contradict this.
        headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        if self.origins.is_some() {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else { return };
        self.origin_headers(origin, headers);
        if let Some(names) = &self.expose {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cors(config: serde_json::Value) -> Result<Cors, ConfigError> {
        Cors::new(serde_json::from_value(config).unwrap())
    }

    fn asking(origin: &'static str, method: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static(method));
        headers
    }

    #[test]
    fn a_browser_is_told_what_a_page_may_do() {
        let cors = cors(json!({
            "origins": ["https://a.example"], "methods": ["GET", "PUT"], "headers": ["x-key"], "expose": ["x-more"],
            "maxAge": "10m", "credentials": true
        }))
        .unwrap();
        let asked = asking("https://a.example", "PUT");
        let answer = cors.preflight(&Method::OPTIONS, &asked).unwrap();
        assert_eq!(answer.status(), 204);
        for (name, value) in [
            ("access-control-allow-origin", "https://a.example"),
            ("access-control-allow-methods", "GET, PUT"),
            ("access-control-allow-headers", "x-key"),
            ("access-control-max-age", "600"),
            ("access-control-allow-credentials", "true"),
            ("vary", "origin"),
        ] {
            assert_eq!(answer.headers()[name], value);
        }
        assert_eq!(cors.preflight(&Method::OPTIONS, &asking("https://b.example", "PUT")).unwrap().status(), 403);
        // An `OPTIONS` that no browser sends before another request is the component's.
        assert!(cors.preflight(&Method::OPTIONS, &HeaderMap::new()).is_none());
        assert!(cors.preflight(&Method::PUT, &asked).is_none());

        let mut headers = HeaderMap::new();
        cors.mark(asked.get(header::ORIGIN), &mut headers);
        assert_eq!(headers["access-control-allow-origin"], "https://a.example");
        assert_eq!(headers["access-control-expose-headers"], "x-more");
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        cors.mark(Some(&HeaderValue::from_static("https://b.example")), &mut headers);
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    }

    #[test]
    fn every_origin_is_a_star_and_never_with_cookies() {
        let open = cors(json!({ "origins": ["*"] })).unwrap();
        let mut headers = HeaderMap::new();
        open.mark(Some(&HeaderValue::from_static("https://any.example")), &mut headers);
        assert_eq!(headers["access-control-allow-origin"], "*");
        let text = cors(json!({ "origins": ["*"], "credentials": true })).unwrap_err().to_string();
        assert!(text.contains("name the origins"), "{text}");
        for bad in ["a.example", "https://a.example/", "HTTPS://A", "ftp://a", "https://u@a", "null"] {
            assert!(cors(json!({ "origins": [bad] })).is_err(), "{bad}");
        }
        assert!(cors(json!({ "origins": [] })).is_err());
        assert!(cors(json!({ "origins": ["*"], "headers": ["a b"] })).is_err());
    }
}
