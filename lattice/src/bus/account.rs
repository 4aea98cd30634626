//! NATS users that may do what one process needs and nothing else. Whoever has a signing key of an account makes them, and the
//! servers need not be told: they check the signature.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};
use uuid::Uuid;

/// What a user may publish to and subscribe to: subjects, which may have wildcards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    pub publish: Vec<String>,
    /// What of these it may not all the same.
    pub never_publish: Vec<String>,
    pub subscribe: Vec<String>,
}

/// Makes users of one account.
pub struct Issuer {
    key: KeyPair,
    account: String,
}

/// Why there can be none.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    #[error("cannot read {what} {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{} has no seed of an account's key, which begins with SA: {reason}", path.display())]
    Seed { path: PathBuf, reason: String },
    #[error("{} does not say which account it is of: {reason}", path.display())]
    Creds { path: PathBuf, reason: String },
    #[error(
        "a signing key makes users of the account of this process, which only a credentials file says: name that, too"
    )]
    NoCreds,
    #[error("cannot sign: {0}")]
    Sign(String),
}

impl Issuer {
    /// From the file with the key's seed, and the credentials that say which account it is of.
    pub fn read(seed: &Path, creds: Option<&Path>) -> Result<Self, IssuerError> {
        let creds = creds.ok_or(IssuerError::NoCreds)?;
        let text = |what, path: &Path| {
            std::fs::read_to_string(path).map_err(|source| IssuerError::File { what, path: path.to_owned(), source })
        };
        let bad_seed = |reason: String| IssuerError::Seed { path: seed.to_owned(), reason };
        let key = KeyPair::from_seed(text("the signing key", seed)?.trim()).map_err(|e| bad_seed(e.to_string()))?;
        if key.key_pair_type() != KeyPairType::Account {
            return Err(bad_seed("it is of something else".to_owned()));
        }
        let account = account_of(&text("the credentials", creds)?);
        let account = account.map_err(|reason| IssuerError::Creds { path: creds.to_owned(), reason })?;
        Ok(Self { key, account })
    }

    /// A new user as a credentials file has it: what its servers are shown, and its seed.
    pub fn user(&self, name: &str, permissions: &Permissions) -> Result<String, IssuerError> {
        let failed = |error: nkeys::error::Error| IssuerError::Sign(error.to_string());
        let user = KeyPair::new_user();
        let Permissions { publish, never_publish, subscribe } = permissions;
        let token = signed(
            json!({
                "jti": Uuid::now_v7().simple().to_string(),
                "iat": std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs()),
                "name": name,
                "sub": user.public_key(),
                "nats": {
                    "pub": { "allow": publish, "deny": never_publish },
                    "sub": { "allow": subscribe },
                    "subs": -1, "data": -1, "payload": -1,
                    "issuer_account": self.account,
                    "type": "user", "version": 2,
                },
            }),
            &self.key,
        )?;
        let seed = user.seed().map_err(failed)?;
        Ok(format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        ))
    }
}

/// The account of the user in a credentials file.
fn account_of(creds: &str) -> Result<String, String> {
    let token = creds.lines().map(str::trim).find(|line| line.split('.').count() == 3 && line.starts_with("ey"));
    let claims = token.and_then(|token| token.split('.').nth(1)).ok_or("there is no token in it")?;
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|error| error.to_string())?;
    let claims: Value = serde_json::from_slice(&claims).map_err(|error| error.to_string())?;
    let account = [&claims["nats"]["issuer_account"], &claims["iss"]].into_iter().find_map(|name| name.as_str());
    account.filter(|account| account.starts_with('A')).map(str::to_owned).ok_or_else(|| "it names none".to_owned())
}

/// A token of NATS: `claims`, in which the issuer is filled in, signed by `key`.
pub fn signed(mut claims: Value, key: &KeyPair) -> Result<String, IssuerError> {
    claims["iss"] = key.public_key().into();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(claims));
    let signature = key.sign(text.as_bytes()).map_err(|error| IssuerError::Sign(error.to_string()))?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_says_what_it_may_and_whose_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (account, signer) = (KeyPair::new_account(), KeyPair::new_account());
        let host = signed(json!({ "nats": { "type": "user" } }), &account).unwrap();
        let (creds, seed) = (dir.path().join("host.creds"), dir.path().join("signer.nk"));
        std::fs::write(&creds, format!("-----BEGIN NATS USER JWT-----\n{host}\n------END NATS USER JWT------\n"))
            .unwrap();
        std::fs::write(&seed, signer.seed().unwrap() + "\n").unwrap();
        let issuer = Issuer::read(&seed, Some(&creds)).unwrap();
        let permissions =
            Permissions { publish: vec!["a.>".into()], never_publish: vec!["a.b".into()], subscribe: vec!["c".into()] };
        let user = issuer.user("provider shop/cache", &permissions).unwrap();
        assert_eq!(account_of(&user).as_deref(), Ok(account.public_key().as_str()));
        let token = user.lines().nth(1).unwrap();
        let (text, signature) = token.rsplit_once('.').unwrap();
        signer.verify(text.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(text.split_once('.').unwrap().1).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["iss"], signer.public_key());
        assert_eq!(claims["nats"]["pub"], json!({ "allow": ["a.>"], "deny": ["a.b"] }));
        assert_eq!(claims["nats"]["sub"], json!({ "allow": ["c"] }));
        let own = user.lines().find(|line| line.starts_with("SU")).unwrap();
        assert_eq!(claims["sub"], KeyPair::from_seed(own).unwrap().public_key());
    }

    #[test]
    fn what_is_no_key_or_names_no_account_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (good, user) = (KeyPair::new_account(), KeyPair::new_user());
        let seed = file("good", &good.seed().unwrap());
        let creds = file("creds", &signed(json!({}), &good).unwrap());
        assert!(Issuer::read(&seed, Some(&creds)).is_ok());
        let told = |seed: &Path, creds: Option<&Path>| Issuer::read(seed, creds).err().unwrap().to_string();
        assert!(told(&seed, None).ends_with("name that, too"));
        assert!(told(&file("user", &user.seed().unwrap()), Some(&creds)).ends_with("it is of something else"));
        assert!(told(&file("none", "hello"), Some(&creds)).contains("begins with SA"));
        assert!(told(&seed, Some(&file("empty", ""))).ends_with("there is no token in it"));
        assert!(told(&seed, Some(&file("user.creds", &signed(json!({}), &user).unwrap()))).ends_with("it names none"));
        assert!(told(&dir.path().join("absent"), Some(&creds)).contains("cannot read the signing key"));
    }
}
