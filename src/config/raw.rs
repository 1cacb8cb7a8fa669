//! The configuration as it is written, and the checks that make settings of it.

mod access;
mod audit;
mod console;
mod database;
mod http;
mod issuers;
mod oidc;
pub(super) mod platform;
mod renewal;
mod sealing;
mod traces;
mod upstream;
mod values;
mod webhook;

use std::path::PathBuf;

use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::Value;

use super::settings::{ConfigError, Env, LogSettings, Settings};
use crate::access::key::CHOSEN_MIN_CHARS;
use crate::foundation::logging::{LogFormat, check_filter, wants_colours};
use crate::jobs::check_schedule;
use crate::jobs::maintenance::MaintenanceSettings;
use crate::memory::MemorySettings;
use crate::renewal::RenewalTrigger;
use crate::ticket::inbox::TicketSettings;
use access::RawAccess;
use audit::RawAudit;
use console::RawConsole;
use database::RawDatabase;
use http::RawHttp;
use issuers::RawIssuers;
use renewal::{RawRead, RawRenewal};
use sealing::RawSealing;
pub use sealing::handed_on;
use traces::RawTraces;
use upstream::RawUpstream;
use values::{SecretText, at_least_one, days, secret, secs};
use webhook::RawWebhook;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    data_dir: PathBuf,
    admin_key: Option<SecretText>,
    admin_key_file: Option<PathBuf>,
    http: RawHttp,
    database: RawDatabase,
    sealing: RawSealing,
    upstream: RawUpstream,
    renewal: RawRenewal,
    read: RawRead,
    access: RawAccess,
    issuers: RawIssuers,
    console: RawConsole,
    ticket: RawTicket,
    webhook: RawWebhook,
    audit: RawAudit,
    maintenance: RawMaintenance,
    metrics: RawMetrics,
    traces: RawTraces,
    log: RawLog,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTicket {
    tolerance_s: u32,
    applications_max: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMaintenance {
    schedule: String,
    history_days: u32,
    audit_days: u32,
    check_sealed_every_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMetrics {
    realms_max: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLog {
    format: Option<String>,
    filter: String,
}

impl Raw {
    pub(super) fn check(self, env: &Env, listen_is_set: bool) -> Result<Settings, ConfigError> {
        let admin_key = secret("admin_key", self.admin_key, self.admin_key_file)?;
        if let Some(key) = &admin_key
            && key.expose_secret().chars().count() < CHOSEN_MIN_CHARS
        {
            let what = format!("must be {CHOSEN_MIN_CHARS} characters or more");
            return Err(ConfigError::of_key("admin_key", what));
        }
        let database = self.database.check(env, &self.data_dir)?;
        let sealing = self.sealing.check(env)?;
        check_schedule(&self.maintenance.schedule)
            .map_err(|error| ConfigError::of_key("maintenance.schedule", error))?;
        check_filter(&self.log.filter).map_err(|error| ConfigError::of_key("log.filter", error))?;
        let applications_max = u64::from(self.ticket.applications_max);
        at_least_one(&[
            ("ticket.tolerance_s", self.ticket.tolerance_s.into()),
            ("ticket.applications_max", applications_max),
        ])?;
        let upstream = self.upstream.check()?;
        let webhook = self.webhook.check(&upstream.proxies)?;
        let access = self.access.check()?;
        let http = self.http.check(env, listen_is_set)?;
        let trigger = match http.frozen_between_requests {
            true => RenewalTrigger::Requests {
                within: http.request_timeout,
            },
            false => RenewalTrigger::Sweep,
        };
        let audit_reads = self.audit.reads()?;
        let audit_sinks = self.audit.check(&upstream.proxies)?;
        Ok(Settings {
            admin_key,
            sealing,
            database,
            renewal: self.renewal.check(&self.read, webhook.as_ref(), trigger)?,
            memory: MemorySettings {
                max_bytes: u64::from(self.read.memory_mib) << 20,
                trust: access.trust,
                key_rate: access.key_rate,
                frozen_between_requests: http.frozen_between_requests,
            },
            http,
            address_rate: access.address_rate,
            address_delay: access.address_delay,
            issuers: self.issuers.check()?,
            console: self.console.check(&upstream.proxies)?,
            upstream,
            ticket: TicketSettings {
                tolerance_s: self.ticket.tolerance_s,
                applications_max,
            },
            webhook,
            audit_reads,
            audit_sinks,
            maintenance: MaintenanceSettings {
                schedule: self.maintenance.schedule,
                history: days(self.maintenance.history_days),
                audit: days(self.maintenance.audit_days),
                check_sealed_every: secs(self.maintenance.check_sealed_every_s),
            },
            metrics_realms_max: self.metrics.realms_max,
            traces: self.traces.check()?,
            log: LogSettings {
                format: self.log.format.as_deref().map(log_format).transpose()?,
                filter: self.log.filter,
                colours: wants_colours(env),
            },
            data_dir: self.data_dir,
            effective: Value::Null,
        })
    }
}

fn log_format(name: &str) -> Result<LogFormat, ConfigError> {
    match name {
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err(ConfigError::of_key("log.format", "must be pretty or json")),
    }
}
