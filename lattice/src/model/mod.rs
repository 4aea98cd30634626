//! What the user wants, what each host must run, what it does run, and what that amounts to. All pure.
//!
//! The way of a manifest: [`manifest::parse`] -> [`check::check`] -> [`app::AppRecord`] (`apps.<app>`) -> a controller
//! -> [`assignment::Assignment`] (`assignments.<host>`) -> a host -> [`inventory::HostRecord`] (`hosts.<host>`) ->
//! [`status::app_status`].

pub mod app;
pub mod asked;
pub mod assignment;
pub mod catalog;
pub mod check;
pub mod condition;
pub mod event;
pub mod figures;
pub mod health;
pub mod inventory;
mod link;
pub mod log;
pub mod manifest;
pub mod messages;
pub mod offline;
pub mod orders;
pub mod outbound;
pub mod placement;
pub mod problem;
pub mod quota;
pub mod recording;
pub mod rollout;
pub mod routes;
pub mod scale;
pub mod schedule;
pub mod secret;
pub mod settings;
pub mod shape;
pub mod share;
pub mod signature;
pub mod spy;
pub mod status;
pub mod wadm;
pub mod watch;
