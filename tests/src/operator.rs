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

fn no_limits() -> Value {
    let names = ["subs", "conn", "leaf", "imports", "exports", "data", "payload"];
    let storage = ["mem_storage", "disk_storage", "streams", "consumer"];
    let mut limits = json!({ "wildcards": true });
    for name in names.into_iter().chain(storage) {
        limits[name] = (-1).into();
    }
    limits
}

impl Operator {
    /// Starts a server, and writes key and credentials into `folder`.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let (operator, system) = (KeyPair::new_operator(), KeyPair::new_account());
        let (account, signer) = (KeyPair::new_account(), KeyPair::new_account());
        let token = |claims: Value, key: &KeyPair| signed(claims, key).map_err(io::Error::other);
        let claims = json!({ "name": "lattice", "sub": operator.public_key(), "nats": {
            "type": "operator", "version": 2, "system_account": system.public_key() } });
        let operator_token = token(claims, &operator)?;
        let account_token = |name: &str, of: &KeyPair, signers: &[String]| {
            let mut limits = no_limits();
            if name == "system" {
                limits = json!({ "subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1,
                    "wildcards": true });
            }
            let claims = json!({ "name": name, "sub": of.public_key(), "nats": {
                "type": "account", "version": 2, "limits": limits, "signing_keys": signers } });
            token(claims, &operator)
        };
        let (system_token, users_token) =
            (account_token("system", &system, &[])?, account_token("users", &account, &[signer.public_key()])?);
        let nats = NatsServer::start_with(format!(
            "operator: {operator_token}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload: {{\n  {system}: \
             {system_token}\n  {account}: {users_token}\n}}\n",
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
