//! Where requests may go.

use std::sync::atomic::Ordering;

use http::{Method, Request};
use lattice::wire::{FaultCode, Timeouts};

use super::{Web, origin, request, url};
use crate::{
    conformance::{Check, same},
    http::Body,
};

pub(super) async fn what_is_not_allowed_is_denied(web: Web) -> Check {
    let (origin, other) = (origin().await?, origin().await?);
    let (here, there) = (url(origin.address, "/hello"), url(other.address, ""));
    let port = origin.address.port();
    let (secure, name) = (format!("https://127.0.0.1:{port}"), format!("http://localhost:{port}"));
    for allow in [vec![], vec![there.as_str()], vec![&secure], vec![&name], vec!["http://example.com", "https://*"]] {
        let fault = web.fault(&here, &allow, Timeouts::default()).await?;
        same(format!("{here} where {allow:?} is allowed"), fault, FaultCode::RequestDenied)?;
    }
    same("connections that were made", origin.seen.connections.load(Ordering::Relaxed), 0)?;
    // The same address is reached where it is named.
    same("an answer where it is allowed", web.text(origin.address, "/hello").await?, "hello".to_owned())
}

pub(super) async fn a_private_address_is_not_reached_by_a_name(web: Web) -> Check {
    let origin = origin().await?;
    let name = format!("http://localhost:{}", origin.address.port());
    if web.private {
        // Its settings say otherwise.
        return Ok(());
    }
    let fault = web.fault(&name, &[&name], Timeouts::default()).await?;
    same("this machine by a name", fault, FaultCode::DestinationIpProhibited)?;
    for literal in ["https://127.0.0.1", "https://[::1]", "https://[::ffff:127.0.0.1]", "https://169.254.169.254"] {
        let fault = web.fault(literal, &["https://*"], Timeouts::default()).await?;
        same(format!("{literal} where any name is allowed"), fault, FaultCode::DestinationIpProhibited)?;
    }
    same("connections that were made", origin.seen.connections.load(Ordering::Relaxed), 0)
}

pub(super) async fn odd_addresses_are_none(web: Web) -> Check {
    for odd in ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "a%2eb.test", "u:p@api.test"] {
        let odd = format!("https://{odd}/");
        // Some are no URI to begin with.
        if odd.parse::<http::Uri>().is_ok() {
            let fault = web.fault(&odd, &["https://*"], Timeouts::default()).await?;
            same(odd, fault, FaultCode::RequestUriInvalid)?;
        }
    }
    Ok(())
}

pub(super) async fn names_of_components_are_not_looked_up(web: Web) -> Check {
    let name = "http://cart.shop.lattice";
    same(name, web.fault(name, &[name], Timeouts::default()).await?, FaultCode::DestinationNotFound)
}

pub(super) async fn no_tunnels_are_made(web: Web) -> Check {
    let origin = origin().await?;
    let allow = url(origin.address, "");
    let tunnel: Request<Body> = request(Method::CONNECT, &allow, Body::Empty)?;
    let refused = web.send_to(&[&allow], tunnel, Timeouts::default()).await?;
    let code = refused.err().map(|fault| fault.code);
    same("a request for a tunnel", code, Some(FaultCode::RequestMethodInvalid))
}
