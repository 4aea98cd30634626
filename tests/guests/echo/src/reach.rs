//! Tries to get out, and puts into words what happened.

use guest_http::wasi::{
    http::{
        outgoing_handler,
        types::{Fields, OutgoingRequest, Scheme},
    },
    sockets::{
        instance_network::instance_network,
        network::{IpAddressFamily, IpSocketAddress, Ipv4Address, Ipv4SocketAddress},
        tcp_create_socket::create_tcp_socket,
    },
};

pub(crate) fn file(path: &str) -> String {
    match std::fs::read(path) {
        Ok(bytes) => format!("read {} bytes", bytes.len()),
        Err(error) => format!("error: {error}"),
    }
}

/// By WASI's own calls: the standard library's sockets need a newer C library than some toolchains have.
pub(crate) fn connect(address: Ipv4Address, port: u16) -> String {
    let outcome = create_tcp_socket(IpAddressFamily::Ipv4).and_then(|socket| {
        let remote = IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address });
        socket.start_connect(&instance_network(), remote)?;
        socket.subscribe().block();
        socket.finish_connect().map(drop)
    });
    match outcome {
        Ok(()) => "connected".to_owned(),
        Err(error) => format!("error: {}", error.name()),
    }
}

pub(crate) fn fetch(authority: &str) -> String {
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some("/"));
    let response = match outgoing_handler::handle(request, None) {
        Ok(response) => response,
        Err(error) => return format!("error: {error:?}"),
    };
    response.subscribe().block();
    match response.get() {
        Some(Ok(Ok(response))) => format!("status {}", response.status()),
        Some(Ok(Err(error))) => format!("error: {error:?}"),
        Some(Err(())) | None => "error: no answer".to_owned(),
    }
}
