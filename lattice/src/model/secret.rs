//! Secrets: what units may know that nobody else shall read. The lattice's store has them sealed to a public key; the hosts
//! that were given its seed can open them, and nobody else can.

use std::{collections::BTreeSet, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nkeys::XKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::wire::{AppName, LatticeName, SecretName};

/// Where a host finds a secret of an app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// Sealed, in the lattice's store.
    Lattice(SecretName),
    /// A file of the host, in its folder of secrets.
    File(SecretName),
    /// A variable of the host's environment.
    Env(SecretName),
}

impl SecretSource {
    pub fn name(&self) -> &SecretName {
        match self {
            Self::Lattice(name) | Self::File(name) | Self::Env(name) => name,
        }
    }
}

/// The value of `secrets.<app>.<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// Version of this structure.
    pub version: u32,
    /// The public xkey of those who can open it.
    pub recipient: String,
    /// The public xkey that it was sealed with, which was made for this value alone.
    pub sender: String,
    /// A [`Letter`] as an xkey seals it, in base64.
    pub sealed: String,
}

/// What is sealed. It says whose it is, so that the value of one secret cannot be put in the place of another.
#[derive(Serialize, Deserialize)]
struct Letter {
    lattice: LatticeName,
    app: AppName,
    name: SecretName,
    value: SecretValue,
}

/// A secret in the open. Neither its `Debug` nor anything else here shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretValue {
    Text(String),
    Bytes(#[serde(with = "as_base64")] Vec<u8>),
}

/// The longest secret, in bytes.
pub const MAX_SECRET: usize = 64 * 1024;

impl SecretValue {
    /// A text where the bytes are one.
    pub fn new(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a secret cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("`{0}` is not the public xkey of a lattice: 56 characters that begin with X")]
    Recipient(String),
    #[error("it is longer than {MAX_SECRET} bytes")]
    TooLong,
    #[error("it cannot be sealed: {0}")]
    Seal(String),
    #[error("it was sealed to {0}, of which this host has no key")]
    OtherKey(String),
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it was sealed as {0}")]
    OtherName(String),
}

impl SealedSecret {
    pub const VERSION: u32 = 1;

    /// Seals `value` so that only those can open it who have the seed of `recipient`, a public xkey.
    pub fn seal(
        (lattice, app, name): (&LatticeName, &AppName, &SecretName),
        value: SecretValue,
        recipient: &str,
    ) -> Result<Self, SealError> {
        let to = XKey::from_public_key(recipient).map_err(|_| SealError::Recipient(recipient.to_owned()))?;
        if matches!(&value, SecretValue::Text(text) if text.len() > MAX_SECRET)
            || matches!(&value, SecretValue::Bytes(bytes) if bytes.len() > MAX_SECRET)
        {
            return Err(SealError::TooLong);
        }
        let letter = Letter { lattice: lattice.clone(), app: app.clone(), name: name.clone(), value };
        let plain = serde_json::to_vec(&letter).map_err(|error| SealError::Seal(error.to_string()))?;
        // A key that is thrown away: who can read the store and knows a recipient's public key learns nothing from it.
        let from = XKey::new();
        let sealed = from.seal(&plain, &to).map_err(|error| SealError::Seal(error.to_string()))?;
        Ok(Self {
            version: Self::VERSION,
            recipient: recipient.to_owned(),
            sender: from.public_key(),
            sealed: STANDARD.encode(sealed),
        })
    }

    /// Opens it with the one of `keys` that it was sealed to.
    pub fn open(
        &self,
        (lattice, app, name): (&LatticeName, &AppName, &SecretName),
        keys: &[XKey],
    ) -> Result<SecretValue, SealError> {
        let key = keys.iter().find(|key| key.public_key() == self.recipient);
        let key = key.ok_or_else(|| SealError::OtherKey(self.recipient.clone()))?;
        let damaged = |reason: String| SealError::Damaged(reason);
        let sender = XKey::from_public_key(&self.sender).map_err(|error| damaged(error.to_string()))?;
        let sealed = STANDARD.decode(&self.sealed).map_err(|error| damaged(error.to_string()))?;
        let plain = key.open(&sealed, &sender).map_err(|error| damaged(error.to_string()))?;
        // The decoder's own words would repeat what it has read.
        let letter: Letter = serde_json::from_slice(&plain).map_err(|_| damaged("it holds something else".into()))?;
        if (&letter.lattice, &letter.app, &letter.name) != (lattice, app, name) {
            return Err(SealError::OtherName(format!("{}/{} of lattice {}", letter.app, letter.name, letter.lattice)));
        }
        Ok(letter.value)
    }
}

/// What stands for a secret in a provider's `config:`, as `{ secret: NAME }`; `None` when `value` is no such thing.
pub fn reference(value: &Value) -> Option<Result<SecretSource, ReferenceError>> {
    let map = value.as_object()?;
    let inner = map.get(KEY)?;
    Some(if map.len() == 1 { source(inner) } else { Err(ReferenceError::Company) })
}

const KEY: &str = "secret";

/// What is wrong with a mapping that has the key `secret`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("`secret` stands beside other keys")]
    Company,
    #[error("a secret is named by a text, or by a mapping with `file` or `env`")]
    Form,
    #[error(transparent)]
    Name(#[from] crate::wire::IdError),
}

/// What is meant by `NAME`, `{ file: NAME }` or `{ env: NAME }`.
pub fn source(value: &Value) -> Result<SecretSource, ReferenceError> {
    match value {
        Value::String(name) => Ok(SecretSource::Lattice(name.parse()?)),
        Value::Object(map) => match map.iter().next() {
            Some((key, Value::String(name))) if map.len() == 1 && key == "file" => {
                Ok(SecretSource::File(name.parse()?))
            }
            Some((key, Value::String(name))) if map.len() == 1 && key == "env" => Ok(SecretSource::Env(name.parse()?)),
            _ => Err(ReferenceError::Form),
        },
        _ => Err(ReferenceError::Form),
    }
}

/// The secrets that a checked `config` refers to.
pub fn references(config: &Map<String, Value>) -> BTreeSet<SecretSource> {
    fn collect(value: &Value, found: &mut BTreeSet<SecretSource>) {
        match (reference(value), value) {
            (Some(source), _) => found.extend(source),
            (None, Value::Object(map)) => map.values().for_each(|value| collect(value, found)),
            (None, Value::Array(list)) => list.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    config.values().for_each(|value| collect(value, &mut found));
    found
}

/// `config` with each reference replaced by what `read` gives for it.
pub fn resolve<E: From<ReferenceError>>(
    config: &Map<String, Value>,
    read: &mut impl FnMut(&SecretSource) -> Result<String, E>,
) -> Result<Map<String, Value>, E> {
    fn replaced<E: From<ReferenceError>>(
        value: &Value,
        read: &mut impl FnMut(&SecretSource) -> Result<String, E>,
    ) -> Result<Value, E> {
        Ok(match (reference(value), value) {
            (Some(source), _) => Value::String(read(&source?)?),
            (None, Value::Object(map)) => Value::Object(resolve(map, read)?),
            (None, Value::Array(list)) => {
                Value::Array(list.iter().map(|value| replaced(value, read)).collect::<Result<_, E>>()?)
            }
            (None, plain) => plain.clone(),
        })
    }
    config.iter().map(|(key, value)| Ok((key.clone(), replaced(value, read)?))).collect()
}

mod as_base64 {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(name: &str) -> (LatticeName, AppName, SecretName) {
        ("default".parse().unwrap(), "shop".parse().unwrap(), name.parse().unwrap())
    }

    fn seal(name: &str, value: SecretValue, key: &XKey) -> SealedSecret {
        let (lattice, app, name) = place(name);
        SealedSecret::seal((&lattice, &app, &name), value, &key.public_key()).unwrap()
    }

    fn open(sealed: &SealedSecret, name: &str, keys: &[XKey]) -> Result<SecretValue, SealError> {
        let (lattice, app, name) = place(name);
        sealed.open((&lattice, &app, &name), keys)
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_key_and_under_its_name_alone() {
        let (key, other) = (XKey::new(), XKey::new());
        for value in [SecretValue::new(b"hunter2".to_vec()), SecretValue::new(vec![0xff, 0x00])] {
            let sealed = seal("db", value.clone(), &key);
            assert_eq!(open(&sealed, "db", &[other.clone(), key.clone()]).unwrap(), value);
            assert!(matches!(open(&sealed, "db", std::slice::from_ref(&other)), Err(SealError::OtherKey(_))));
            assert!(matches!(open(&sealed, "web", std::slice::from_ref(&key)), Err(SealError::OtherName(_))));
            let forged = SealedSecret { recipient: other.public_key(), ..sealed.clone() };
            assert!(matches!(open(&forged, "db", std::slice::from_ref(&other)), Err(SealError::Damaged(_))));
            assert_ne!(seal("db", value, &key).sealed, sealed.sealed, "the same again looks different");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let value = SecretValue::new(b"hunter2".to_vec());
        let sealed = seal("db", value.clone(), &XKey::new());
        let shown = format!("{value:?} {sealed:?} {}", serde_json::to_string(&sealed).unwrap());
        assert!(!shown.contains("hunter2") && !shown.contains(&STANDARD.encode("hunter2")), "{shown}");
    }

    #[test]
    fn secrets_are_sealed_to_xkeys_and_have_a_limit() {
        let (lattice, app, name) = place("db");
        let seal = |length: usize, key: &str| {
            SealedSecret::seal((&lattice, &app, &name), SecretValue::new(vec![b'x'; length]), key).err()
        };
        let key = XKey::new().public_key();
        assert_eq!(seal(MAX_SECRET, &key), None);
        assert_eq!(seal(MAX_SECRET + 1, &key), Some(SealError::TooLong));
        let user = nkeys::KeyPair::new_user().public_key();
        for wrong in ["", "X", &user] {
            assert_eq!(seal(1, wrong), Some(SealError::Recipient(wrong.to_owned())));
        }
    }

    #[test]
    fn references_are_found_and_replaced_wherever_they_stand() {
        let config = json!({
            "url": { "secret": "url" },
            "plain": "x",
            "tls": { "key": { "secret": { "file": "key" } }, "list": [1, { "secret": { "env": "token" } }] },
        });
        let config = config.as_object().unwrap();
        let found: Vec<_> = references(config).into_iter().collect();
        let name = |name: &str| name.parse().unwrap();
        let all =
            [SecretSource::Lattice(name("url")), SecretSource::File(name("key")), SecretSource::Env(name("token"))];
        assert_eq!(found, all);
        let mut read = |source: &SecretSource| Ok::<_, ReferenceError>(format!("<{}>", source.name()));
        let resolved = resolve(config, &mut read).unwrap();
        assert_eq!(
            Value::Object(resolved),
            json!({ "url": "<url>", "plain": "x", "tls": { "key": "<key>", "list": [1, "<token>"] } })
        );
        let mut refuse = |_: &SecretSource| Err(ReferenceError::Form);
        assert_eq!(resolve(config, &mut refuse).unwrap_err(), ReferenceError::Form);
    }

    #[test]
    fn what_is_meant_badly_is_said() {
        for (value, error) in [
            (json!({ "secret": "a", "file": "b" }), ReferenceError::Company),
            (json!({ "secret": 1 }), ReferenceError::Form),
            (json!({ "secret": {} }), ReferenceError::Form),
            (json!({ "secret": { "vault": "x" } }), ReferenceError::Form),
            (json!({ "secret": { "file": "x", "env": "y" } }), ReferenceError::Form),
        ] {
            assert_eq!(reference(&value), Some(Err(error)), "{value}");
        }
        for name in ["../x", "a/b", "A", ""] {
            let found = reference(&json!({ "secret": { "file": name } }));
            assert!(matches!(found, Some(Err(ReferenceError::Name(_)))), "{name}");
        }
        assert_eq!(reference(&json!({ "key": { "secret": "x" } })), None);
    }
}
