//! Opening a connection, and what is kept beside it.

use std::{
    collections::HashMap,
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};
use tokio_postgres::{CancelToken, Client, NoTls, Statement, config::Host};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::{
    config::{Place, Settings, Tls},
    failure::reason,
    value::Session,
    watched::{Seen, Socket, Watched},
};

/// How long the way to one host may take, with TLS and password.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a cancel may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);
/// The question whether the database speaks TLS: its length, and the number that stands for it.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// Beside a row's values, what a message may have: names, notices, heads.
const MESSAGE_ROOM: usize = 1 << 20;

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot reach {place}: {reason}")]
pub(crate) struct Unreachable {
    pub(crate) place: String,
    pub(crate) reason: String,
    /// The database itself has refused.
    pub(crate) refused: bool,
}

/// Opens connections.
pub(crate) struct Server {
    login: tokio_postgres::Config,
    places: Vec<Place>,
    tls: Option<TlsConnector>,
    requires_tls: bool,
    writes: bool,
    max_message: u64,
    statement_cache: usize,
}

impl Server {
    pub(crate) fn new(settings: &Settings, tls: Option<TlsConnector>) -> Self {
        Self {
            login: settings.login.clone(),
            places: settings.places.clone(),
            tls,
            requires_tls: settings.tls == Tls::Require,
            writes: settings.writes,
            max_message: (settings.limits.bytes + MESSAGE_ROOM) as u64,
            statement_cache: settings.statement_cache,
        }
    }

    /// The first place that answers as it should.
    pub(crate) async fn connect(self: &Arc<Self>) -> Result<Connection, Unreachable> {
        let mut last = Unreachable { place: "PostgreSQL".into(), reason: "no host is named".into(), refused: false };
        for place in &self.places {
            let failed = |(reason, refused)| Unreachable { place: place.to_string(), reason, refused };
            match tokio::time::timeout(CONNECT_TIMEOUT, self.connect_to(place)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = failed(error),
                Err(_) => last = failed(("no answer".into(), false)),
            }
        }
        Err(last)
    }

    async fn connect_to(self: &Arc<Self>, place: &Place) -> Result<Connection, (String, bool)> {
        let socket = self.socket(place).await.map_err(|reason| (reason, false))?;
        let (socket, seen) = Watched::new(socket, self.max_message);
        let (client, connection) = self.login.connect_raw(socket, NoTls).await.map_err(|error| explain(&error))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to PostgreSQL has ended");
            }
        });
        let connection = Connection {
            cancel: Cancel { token: client.cancel_token(), place: place.clone(), server: self.clone() },
            client,
            driver,
            seen,
            statements: Statements { kept: HashMap::new(), most: self.statement_cache },
            money_digits: None,
        };
        if self.writes {
            let read_only = connection.client.simple_query("SHOW transaction_read_only").await;
            let says_on = |message: &_| matches!(message, tokio_postgres::SimpleQueryMessage::Row(row) if row.get(0) == Some("on"));
            if read_only.map_err(|error| explain(&error))?.iter().any(says_on) {
                return Err(("it is read-only, and the URL asks for `target_session_attrs=read-write`".into(), true));
            }
        }
        Ok(connection)
    }

    async fn socket(&self, place: &Place) -> Result<Box<dyn Socket>, String> {
        let host = match &place.host {
            Host::Tcp(host) => host,
            Host::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{}", place.port));
                return Ok(Box::new(UnixStream::connect(path).await.map_err(|error| reason(&error))?));
            }
        };
        let mut stream = TcpStream::connect((host.as_str(), place.port)).await.map_err(|error| reason(&error))?;
        // Only slower without it.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let io = |error: std::io::Error| reason(&error);
        stream.write_all(&TLS_REQUEST).await.map_err(io)?;
        match stream.read_u8().await.map_err(io)? {
            b'S' => {}
            _ if self.requires_tls => return Err("it does not speak TLS, and `tls` is `require`".into()),
            _ => return Ok(Box::new(stream)),
        }
        let name = ServerName::try_from(host.clone()).map_err(|_| format!("`{host}` cannot be in a certificate"))?;
        let encrypted = tls.connect(name, stream).await.map_err(|error| format!("TLS: {}", reason(&error)))?;
        Ok(Box::new(encrypted))
    }
}

/// What went wrong, and whether the database has said so.
fn explain(error: &tokio_postgres::Error) -> (String, bool) {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => (format!("{} (SQLSTATE {})", said.message(), said.code().code()), true),
        (None, Some(source)) => (reason(&source), false),
        (None, None) => (reason(error), false),
    }
}

/// A connection, which one call uses at a time.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Ends when the client is dropped and all is sent.
    driver: JoinHandle<()>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) statements: Statements,
    cancel: Cancel,
    money_digits: Option<u32>,
}

impl Connection {
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The statement, prepared here.
    pub(crate) async fn prepare(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.find(sql) {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.keep(sql, &statement);
        Ok(statement)
    }

    /// What values of this statement depend on.
    pub(crate) async fn session(&mut self, statement: &Statement) -> Result<Session, tokio_postgres::Error> {
        let is_money = |ty: &tokio_postgres::types::Type| matches!(ty.name(), "money" | "_money");
        if !statement.params().iter().chain(statement.columns().iter().map(|column| column.type_())).any(is_money) {
            return Ok(Session::default());
        }
        let money_digits = match self.money_digits {
            Some(digits) => digits,
            None => {
                let sql = "SELECT pg_catalog.length('1'::pg_catalog.money::pg_catalog.numeric::pg_catalog.text)";
                let row = self.client.query_one(sql, &[]).await?;
                // `1.00`: the point and what follows it.
                let digits = u32::try_from(row.try_get::<_, i32>(0)? - 2).unwrap_or(0);
                *self.money_digits.insert(digits)
            }
        };
        Ok(Session { money_digits })
    }

    /// Ends it when no call is under way.
    pub(crate) fn close(self) {
        drop(self);
    }

    /// Ends it with whatever the database is doing for it.
    pub(crate) async fn cancel_and_close(self) {
        let Self { client, mut driver, cancel, .. } = self;
        if !client.is_closed() {
            cancel.send().await;
        }
        drop(client);
        // What it would still send is for nobody.
        if tokio::time::timeout(CANCEL_TIMEOUT, &mut driver).await.is_err() {
            driver.abort();
        }
    }
}

/// Stops what a connection is doing, over a connection of its own.
struct Cancel {
    token: CancelToken,
    place: Place,
    server: Arc<Server>,
}

impl Cancel {
    async fn send(&self) {
        let work = async {
            let socket = self.server.socket(&self.place).await?;
            self.token.cancel_query_raw(socket, NoTls).await.map_err(|error| error.to_string())
        };
        match tokio::time::timeout(CANCEL_TIMEOUT, work).await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => tracing::debug!(reason, "cannot cancel a statement"),
            Err(_) => tracing::debug!("cannot cancel a statement: no answer"),
        }
    }
}

/// Statements that are prepared on one connection, by their text.
pub(crate) struct Statements {
    kept: HashMap<Box<str>, (Statement, Instant)>,
    most: usize,
}

impl Statements {
    fn find(&mut self, sql: &str) -> Option<Statement> {
        let (statement, used) = self.kept.get_mut(sql)?;
        *used = Instant::now();
        Some(statement.clone())
    }

    fn keep(&mut self, sql: &str, statement: &Statement) {
        if self.most == 0 {
            return;
        }
        if self.kept.len() >= self.most {
            let oldest = self.kept.iter().min_by_key(|(_, (_, used))| *used).map(|(sql, _)| sql.clone());
            // Its drop closes it in the database.
            oldest.map(|sql| self.kept.remove(&sql));
        }
        self.kept.insert(sql.into(), (statement.clone(), Instant::now()));
    }

    pub(crate) fn forget(&mut self, sql: &str) -> bool {
        self.kept.remove(sql).is_some()
    }
}
