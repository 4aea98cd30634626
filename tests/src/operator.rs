//! A NATS whose servers know nobody, and let in whom an account vouches for.

use std::{fs, io, path::Path};

use lattice::bus::{Issuer, Permissions, signed};
use lattice_provider::conformance::servers::NatsServer;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// An account of such a NATS, and the server.
pub struct Operator {
    pub nats: NatsServer,
    pub signing_key: String,
    /// Credentials of a user of the account who may do anything.
    pub creds: String,
}

/// What a server counts of an account's connections.
const CONNECTIONS: [&str; 7] = ["subs", "conn", "leaf", "imports", "exports", "data", "payload"];
/// What JetStream counts; a system account has none of it, and the server refuses one that has.
const STORAGE: [&str; 4] = ["mem_storage", "disk_storage", "streams", "consumer"];

/// -1 is as many as one likes.
fn no_limits(names: &[&str]) -> Value {
    let mut limits = json!({ "wildcards": true });
    for name in names {
        limits[name] = (-1).into();
    }
    limits
}

impl Operator {
    /// Starts a server, and writes key and credentials into `folder`.
    pub fn start(folder: &Path) -> io::Result<Self> {
        Self::start_with(folder, "")
    }

    /// The same, with more in the server's configuration.
    pub fn start_with(folder: &Path, more: &str) -> io::Result<Self> {
        let (operator, system) = (KeyPair::new_operator(), KeyPair::new_account());
        let (account, signer) = (KeyPair::new_account(), KeyPair::new_account());
        let token = |claims: Value, key: &KeyPair| signed(claims, key).map_err(io::Error::other);
        let claims = json!({ "name": "lattice", "sub": operator.public_key(), "nats": {
            "type": "operator", "version": 2, "system_account": system.public_key() } });
        let operator_token = token(claims, &operator)?;
        let account_token = |name: &str, of: &KeyPair, limits: Value, signers: &[String]| {
            let claims = json!({ "name": name, "sub": of.public_key(), "nats": {
                "type": "account", "version": 2, "limits": limits, "signing_keys": signers } });
            token(claims, &operator)
        };
        let system_token = account_token("system", &system, no_limits(&CONNECTIONS), &[])?;
        let stored = no_limits(&[CONNECTIONS.as_slice(), &STORAGE].concat());
        let users_token = account_token("users", &account, stored, &[signer.public_key()])?;
        let nats = NatsServer::start_with(format!(
            "operator: {operator_token}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload: {{\n  {system}: \
             {system_token}\n  {account}: {users_token}\n}}\n{more}\n",
            system = system.public_key(),
            account = account.public_key()
        ))?;
        let write = |name: &str, text: String| -> io::Result<String> {
            let path = folder.join(name);
            fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let seed = |key: &KeyPair| key.seed().map_err(io::Error::other);
        let signing_key = write("signing.nk", seed(&signer)?)?;
        // The account by its own key, which says whose its users are.
        let own = write("account.nk", seed(&account)?)?;
        let whose = write("account.creds", token(json!({ "nats": {} }), &account)?)?;
        let all = Permissions { publish: vec![">".into()], subscribe: vec![">".into()], ..Permissions::default() };
        let issuer = Issuer::read(Path::new(&own), Some(Path::new(&whose))).map_err(io::Error::other)?;
        let creds = write("host.creds", issuer.user("host", &all).map_err(io::Error::other)?)?;
        Ok(Self { nats, signing_key, creds })
    }
}
