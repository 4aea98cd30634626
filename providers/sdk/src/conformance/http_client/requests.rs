//! What goes out and what comes back.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use lattice::wire::{FaultCode, Timeouts};

use super::{Web, bytes, origin, request, url};
use crate::{
    conformance::{Check, same},
    http::Body,
};

const MANY: usize = 64;

pub(super) async fn a_request_arrives_as_it_was_sent(web: Web) -> Check {
    let origin = origin().await?;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        let name = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
        let found = bytes(web.send(request(name, &url(origin.address, "/method"), Body::Empty)?).await?).await?;
        same("the method", found, Bytes::from(method))?;
    }
    for target in ["/target", "/target?", "/target?a=b&c=%20&d=%C3%A9", "/target?a=?/:@"] {
        same("the target", web.text(origin.address, target).await?, target.to_owned())?;
    }
    let mut sent = request(Method::GET, &url(origin.address, "/headers"), Body::Empty)?;
    for (name, value) in
        [("x-one", "1"), ("x-many", "a"), ("x-many", "b"), ("x-empty", ""), ("accept", "text/plain, */*")]
    {
        sent.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let seen = bytes(web.send(sent).await?).await?;
    let seen = String::from_utf8_lossy(&seen).into_owned();
    for line in ["x-one: 1\n", "x-many: a\n", "x-many: b\n", "x-empty: \n", "accept: text/plain, */*\n"] {
        same(format!("whether the server has seen {line:?} in {seen:?}"), seen.contains(line), true)?;
    }
    Ok(())
}

pub(super) async fn its_host_is_where_it_goes(web: Web) -> Check {
    let origin = origin().await?;
    let mut sent = request(Method::GET, &url(origin.address, "/headers"), Body::Empty)?;
    for (name, value) in [
        (header::HOST, "admin.test"),
        (header::HOST, "other.test"),
        (header::CONNECTION, "x-secret"),
        (header::UPGRADE, "websocket"),
        (header::PROXY_AUTHORIZATION, "Basic eDp5"),
        (header::TRANSFER_ENCODING, "gzip"),
    ] {
        sent.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let seen = bytes(web.send(sent).await?).await?;
    let seen = String::from_utf8_lossy(&seen).into_owned();
    let hosts: Vec<_> = seen.lines().filter(|line| line.starts_with("host: ")).collect();
    same("the hosts that the server has seen", hosts, vec![format!("host: {}", origin.address).as_str()])?;
    for line in ["upgrade", "proxy-authorization", "gzip", "x-secret"] {
        same(format!("whether {line} has left in {seen:?}"), seen.contains(line), false)?;
    }
    Ok(())
}

pub(super) async fn a_response_comes_as_it_was_answered(web: Web) -> Check {
    let origin = origin().await?;
    for code in [200, 201, 204, 304, 404, 418, 500, 599] {
        let response = web.get(origin.address, &format!("/status?code={code}")).await?;
        same("the status", response.status().as_u16(), code)?;
        bytes(response).await?;
    }
    let response = web.get(origin.address, "/cookies").await?;
    let cookies = |headers: &HeaderMap| headers.get_all(header::SET_COOKIE).iter().cloned().collect::<Vec<_>>();
    same("headers of one name", cookies(response.headers()), ["a=1", "b=2"].map(HeaderValue::from_static).into())?;
    let head = web.send(request(Method::HEAD, &url(origin.address, "/hello"), Body::Empty)?).await?;
    same("the status of a HEAD", head.status().as_u16(), 200)?;
    same("its body", bytes(head).await?, Bytes::new())
}

pub(super) async fn a_redirect_is_an_answer(web: Web) -> Check {
    let (origin, other) = (origin().await?, origin().await?);
    let to = url(other.address, "/hello");
    let response = web.get(origin.address, &format!("/redirect?to={to}")).await?;
    same("the status", response.status().as_u16(), 302)?;
    let location =
        response.headers().get(header::LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
    same("where it leads", location, Some(to))?;
    same("connections to there", other.seen.connections.load(Ordering::Relaxed), 0)
}

pub(super) async fn connections_are_used_again(web: Web) -> Check {
    let origin = origin().await?;
    for _ in 0..20 {
        same("an answer", web.text(origin.address, "/hello").await?, "hello".to_owned())?;
        // It is free when the client has seen the end of the body.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let connections = origin.seen.connections.load(Ordering::Relaxed);
    if connections > 10 {
        Err(format!("20 requests, one after the other, made {connections} connections"))
    } else {
        Ok(())
    }
}

pub(super) async fn answers_are_not_mixed_up(web: Web) -> Check {
    let origin = origin().await?;
    let calls = (0..MANY * 8).map(|n| {
        let (web, address) = (web.clone(), origin.address);
        async move {
            let own = Bytes::from(format!("{n} ").repeat(n));
            let echo = request(Method::POST, &url(address, "/echo"), Body::Full(own.clone()))?;
            same(format!("whether answer {n} is the right one"), bytes(web.send(echo).await?).await? == own, true)
        }
    });
    stream::iter(calls).buffer_unordered(MANY).try_collect().await
}

pub(super) async fn a_server_that_is_not_there_is_told(web: Web) -> Check {
    // Closed before anybody is told where it was.
    let bound = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let gone = bound.map_err(|error| format!("an address on this machine: {error}"))?;
    let allow = url(gone, "");
    let fault = web.fault(&url(gone, "/"), &[&allow], Timeouts::default()).await?;
    same("an address at which nobody listens", fault, FaultCode::ConnectionRefused)
}

pub(super) async fn a_server_that_hangs_up_is_told(web: Web) -> Check {
    let origin = origin().await?;
    let allow = url(origin.address, "");
    let fault = web.fault(&url(origin.address, "/drop"), &[&allow], Timeouts::default()).await?;
    same("a server that hangs up", fault, FaultCode::ConnectionTerminated)
}

pub(super) async fn slow_servers_meet_the_callers_timeouts(web: Web) -> Check {
    let origin = origin().await?;
    let (allow, short) = (url(origin.address, ""), Some(Duration::from_millis(200)));
    let first = Timeouts { first_byte: short, ..Timeouts::default() };
    let fault = web.fault(&url(origin.address, "/sleep?ms=30000"), &[&allow], first).await?;
    same("a response that does not begin", fault, FaultCode::ConnectionReadTimeout)?;
    let between = Timeouts { between_bytes: short, ..Timeouts::default() };
    let stalled = request(Method::GET, &url(origin.address, "/stall?ms=30000"), Body::Empty)?;
    let response = web.send_to(&[&allow], stalled, between).await?.map_err(|fault| fault.to_string())?;
    let body = tokio::time::timeout(super::AT_ONCE, bytes(response)).await;
    let body = body.map_err(|_| "a response that stalls has not ended".to_owned())?;
    same("whether a response that stalls is an error", body.is_err(), true)
}
