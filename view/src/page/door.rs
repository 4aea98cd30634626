//! Who is let in.

use http::{HeaderValue, Request, Response, StatusCode, header};
use lattice_provider::http::Body;

use super::answers::{Asked, text};

/// The page has nothing from elsewhere, and is in no other page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Before everything that browsers ask for.
pub struct Door {
    /// What a browser must have.
    key: String,
    /// What those are told who have none.
    hint: &'static str,
}

/// Whether a browser has the key.
enum Admitted {
    Yes,
    /// It has just been given it, and shall keep it.
    New,
    No,
}

impl Door {
    /// Lets those in who have `key`; others are told `hint`, a line.
    pub fn new(key: String, hint: &'static str) -> Self {
        Self { key, hint }
    }

    /// The answer to somebody who is not let in, or who must come again; `None` for all others.
    pub fn answer<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        match self.admits(request) {
            Admitted::Yes => None,
            Admitted::New => Some(self.welcome(request)),
            Admitted::No => Some(text(StatusCode::FORBIDDEN, self.hint)),
        }
    }

    /// Says what browsers may make of an answer.
    pub fn guard(response: &mut Response<Body>) {
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-store"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }

    /// Of several of these on one machine, each has a cookie of its own: cookies do not tell ports apart.
    fn cookie(&self) -> String {
        format!("lattice-ui-{}={}", self.key.get(..8).unwrap_or_default(), self.key)
    }

    fn admits<B>(&self, request: &Request<B>) -> Admitted {
        let cookies = request.headers().get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let ours = self.cookie();
        if cookies.flat_map(|cookies| cookies.split(';')).any(|cookie| same(cookie.trim(), &ours)) {
            return Admitted::Yes;
        }
        match Asked::of(request).0.get("key") {
            Some(key) if same(key, &self.key) => Admitted::New,
            _ => Admitted::No,
        }
    }

    /// Lets the browser keep the key, and takes it out of the address.
    fn welcome<B>(&self, request: &Request<B>) -> Response<Body> {
        let cookie = format!("{}; Path=/; HttpOnly; SameSite=Strict", self.cookie());
        let mut response = text(StatusCode::SEE_OTHER, "");
        let to = HeaderValue::try_from(request.uri().path()).unwrap_or(HeaderValue::from_static("/"));
        response.headers_mut().insert(header::LOCATION, to);
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }
}

/// Whether two texts are the same, without telling by its time where they differ.
fn same(one: &str, other: &str) -> bool {
    let differ = one.bytes().zip(other.bytes()).fold(0, |differ, (one, other)| differ | (one ^ other));
    one.len() == other.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_same_only_as_a_whole() {
        assert!(same("abc", "abc") && same("", ""));
        assert!(!same("abc", "abd") && !same("abc", "ab") && !same("", "a"));
    }
}
