//! A provider of an interface of its own, made from WIT alone: `generate!` writes the trait [`Book`], what serves it over
//! the lattice, and its client; this file keeps the book. It does so in memory, so a restart begins a new one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use lattice_provider::{Capability, Provider, StartContext, StartError, UnitId, async_trait};
use serde::Deserialize;

lattice_provider::generate!({ path: "../ledger/wit", world: "book-provider" });

use book::{Book, BookError, Entry};

/// What the manifest says: `config: { currency: EUR, overdraft: 100 }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Three capital letters, for people who read errors.
    currency: String,
    /// How far below zero an account may go, in the currency's smallest unit.
    #[serde(default)]
    overdraft: u32,
}

/// Longest name of an account, and longest note, in bytes.
const MAX_TEXT: usize = 200;
/// Most entries that are kept: callers decide how many they post.
const MAX_ENTRIES: usize = 100_000;
/// Most entries of one answer, so that it fits a message.
const MAX_HISTORY: usize = 1000;

/// The provider.
pub struct Ledger {
    config: Config,
    /// A lock and not a task that owns the entries: what happens under it takes less time than a message to a task.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    balances: HashMap<String, i64>,
}

#[async_trait]
impl Provider for Ledger {
    const KIND: &'static str = "ledger";
    type Config = Config;

    fn check(config: &Config, _: &UnitId) -> Result<(), StartError> {
        match config.currency.len() == 3 && config.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            true => Ok(()),
            false => Err(StartError::Config(format!("currency: \"{}\" is none; one is EUR", config.currency))),
        }
    }

    async fn start(_: StartContext, config: Config) -> Result<Capability, StartError> {
        Ok(serve(Self { config, state: Mutex::default() }))
    }
}

#[async_trait]
impl Book for Ledger {
    async fn post(&self, entry: Entry) -> Result<u64, BookError> {
        let long = |text: &str| text.len() > MAX_TEXT;
        if entry.account.is_empty() || long(&entry.account) || entry.note.as_deref().is_some_and(long) {
            return Err(BookError::Other(format!(
                "an account has a name of 1 to {MAX_TEXT} bytes; a note has no more"
            )));
        }
        self.with(|state| {
            let balance = state.balances.get(&entry.account).copied().unwrap_or(0);
            let after = balance.checked_add(entry.amount).ok_or_else(|| self.beyond(&entry))?;
            if entry.amount < 0 && after < -i64::from(self.config.overdraft) {
                return Err(BookError::Overdrawn(balance));
            }
            if state.entries.len() == MAX_ENTRIES {
                return Err(BookError::Other(format!("the book has {MAX_ENTRIES} entries, and is full")));
            }
            state.balances.insert(entry.account.clone(), after);
            state.entries.push(entry);
            Ok(state.entries.len() as u64)
        })
    }

    async fn balance(&self, account: String) -> Result<i64, BookError> {
        self.with(|state| state.balances.get(&account).copied().ok_or(BookError::NoSuchAccount))
    }

    async fn history(&self, account: String, limit: u32) -> Result<Vec<Entry>, BookError> {
        self.with(|state| {
            if !state.balances.contains_key(&account) {
                return Err(BookError::NoSuchAccount);
            }
            let newest = state.entries.iter().rev().filter(|entry| entry.account == account);
            Ok(newest.take((limit as usize).min(MAX_HISTORY)).cloned().collect())
        })
    }
}

impl Ledger {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // Nothing below panics half-way through a change, so the state is whole.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn beyond(&self, entry: &Entry) -> BookError {
        BookError::Other(format!("{} cents of {} are more than an account holds", entry.amount, self.config.currency))
    }
}
