//! What a component may reach beyond its links. In a lattice that is nothing but its secrets; `run` and `serve` grant what
//! the command line names.

use std::{net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc};

use lattice::wire::UnitId;
use lattice_provider_http_client::{Client, Config, SystemResolver, TlsError};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, sockets::SocketAddrUse};

use super::log::GuestLog;
use crate::{metrics::Counts, quotas::AppCalls, secrets::Granted};

/// By default nothing is granted.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// What the component sees as its arguments, its own name first. Without any it sees the unit's name.
    pub args: Vec<String>,
    pub dirs: Vec<GrantedDir>,
    /// Making sockets, which by itself reaches nothing.
    pub sockets: bool,
    pub tcp: bool,
    pub udp: bool,
    /// Looking up names of the Internet.
    pub dns: bool,
    /// Sending HTTP requests.
    pub http: bool,
    /// Standard output and error of this process, instead of the log.
    pub output: bool,
    /// Standard input of this process.
    pub input: bool,
    /// What its manifest lets it read.
    pub secrets: Granted,
    /// The calls that its app may take.
    pub quota: Option<Arc<AppCalls>>,
    /// Where its calls are counted.
    pub counts: Arc<Counts>,
}

/// A folder of this machine that a component sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedDir {
    pub host: PathBuf,
    /// Its name for the component.
    pub guest: String,
    pub read_only: bool,
}

/// A folder that was granted cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the folder {}: {reason}", path.display())]
pub struct GrantError {
    path: PathBuf,
    reason: String,
}

impl Grants {
    /// Whether a socket may be used for something; without sockets the context refuses all of it by itself.
    fn address_check(
        &self,
    ) -> impl Fn(SocketAddr, SocketAddrUse) -> Pin<Box<dyn Future<Output = bool> + Send + Sync>> + Send + Sync + 'static
    {
        let (tcp, udp) = (self.tcp, self.udp);
        move |_, purpose| {
            let granted = match purpose {
                SocketAddrUse::UdpBind | SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => udp,
                SocketAddrUse::TcpBind
                | SocketAddrUse::TcpListen
                | SocketAddrUse::TcpAccept
                | SocketAddrUse::TcpConnect => tcp,
            };
            Box::pin(async move { granted })
        }
    }

    /// What sends the HTTP requests that are granted.
    pub(crate) fn client(&self) -> Result<Option<Arc<Client>>, TlsError> {
        let make = || Client::new(&Config::default(), Arc::new(SystemResolver)).map(Arc::new);
        self.http.then(make).transpose()
    }

    /// What makes the context of one instance, with the environment `env`.
    pub(crate) fn builder(&self, unit: &Arc<UnitId>, env: &[(String, String)]) -> Result<WasiCtxBuilder, GrantError> {
        let mut wasi = WasiCtx::builder();
        if self.input {
            wasi.inherit_stdin();
        }
        if self.output {
            wasi.inherit_stdout().inherit_stderr();
        } else {
            wasi.stdout(GuestLog { unit: unit.clone(), stream: "stdout" })
                .stderr(GuestLog { unit: unit.clone(), stream: "stderr" });
        }
        wasi.allow_tcp(self.sockets).allow_udp(self.sockets).allow_ip_name_lookup(self.dns);
        if self.sockets {
            wasi.socket_addr_check(self.address_check());
        }
        if !env.is_empty() {
            wasi.envs(env);
        }
        match self.args.as_slice() {
            // Programs take for granted that they have a name.
            [] => wasi.arg(unit.unit.as_str()),
            args => wasi.args(args),
        };
        for dir in &self.dirs {
            let perms = if dir.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            wasi.preopened_dir(&dir.host, &dir.guest, perms)
                .map_err(|error| GrantError { path: dir.host.clone(), reason: format!("{error:#}") })?;
        }
        Ok(wasi)
    }
}
