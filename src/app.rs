//! Opens everything a command needs, in order: the database, its schema, the key ring,
//! the administrator's key.

mod admin_key;
mod data_dir;
mod key_check;
mod key_file;
mod key_proof;
mod maintenance;
mod open_spool;
mod purpose;
mod ring;
pub mod ring_presence;
mod schema;
pub mod source_ring;
mod start_error;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::access::address_rates::AddressRates;
use crate::access::audit::AuditLog;
use crate::access::writer::AuditWriter;
use crate::config::Settings;
use crate::console::news::Newsroom;
use crate::console::rules::SignInRules;
use crate::console::sessions::Sessions;
use crate::foundation::clock::SharedClock;
use crate::foundation::database::Database;
use crate::foundation::lacked_keys::LackedKeys;
use crate::foundation::metrics::Metrics;
use crate::foundation::open_streams::OpenStreams;
use crate::foundation::randomness::Randomness;
use crate::foundation::replica::Replica;
use crate::foundation::sealing::KeyRing;
use crate::foundation::sealing_keys::KeyUses;
use crate::issuers::Issuers;
use crate::issuers::sign_in::{SignIn, SignInParts};
use crate::jobs::audit_sinks::{AuditSinks, AuditSinksParts};
use crate::memory::Memory;
use crate::reads::{self, Reads};
use crate::realm::store as realms;
use crate::registry::{Registry, RegistryParts};
use crate::renewal::overview::OverviewReader;
use crate::renewal::{self, Renewals};
use crate::secret::store as secrets;
use crate::ticket::inbox::Inbox;
use crate::upstream::Upstream;
use crate::webhook::delivery_worker::DeliveryWorker;
use maintenance::{connect, take_replica};
pub use maintenance::{forget_keys, migrate};
use open_spool::open_spool;
use purpose::Purpose;
pub use ring::ForgottenKeys;
use ring::{OpenedRing, open_ring};
use ring_presence::{RingPresence, RingPresenceParts};
pub use start_error::StartError;

/// Secrets may be many, and a start is not to wait for their number.
const COUNTED_WITHIN: Duration = Duration::from_secs(1);

/// The handles that rooms and commands work with.
#[derive(Clone)]
pub struct App {
    pub settings: Arc<Settings>,
    pub database: Database,
    pub ring: Arc<KeyRing>,
    /// The keys of stored values that this server lacks.
    pub lacked_keys: Arc<LackedKeys>,
    pub clock: SharedClock,
    pub randomness: Randomness,
    pub metrics: Arc<Metrics>,
    pub registry: Registry,
    pub renewals: Renewals,
    pub reads: Reads,
    /// What readers are served from.
    pub memory: Memory,
    /// Recognises callers.
    pub issuers: Issuers,
    /// Of the console.
    pub sessions: Sessions,
    /// To the console, by OpenID Connect; none where nobody does.
    pub sign_in: Option<Arc<SignIn>>,
    /// What changes, for pages that are open.
    pub newsroom: Arc<Newsroom>,
    /// Callers that follow it.
    pub event_streams: Arc<OpenStreams>,
    /// How many stored values each sealing key has made.
    pub key_uses: Arc<KeyUses>,
    /// How all secrets are.
    pub overview: Arc<OverviewReader>,
    /// Takes pushed tickets.
    pub inbox: Inbox,
    /// Takes denied calls, looks and uses.
    pub audit_writer: AuditWriter,
    /// Writes this server's chain of the audit.
    pub audit: AuditLog,
    /// Calls without a good key, by address.
    pub address_rates: Arc<AddressRates>,
    /// Callers that watch a token.
    pub watchers: Arc<OpenStreams>,
    /// Tells the webhook; none where there is none.
    pub delivery_worker: Option<Arc<DeliveryWorker>>,
    /// Copies the audit; none where it is copied nowhere.
    pub audit_sinks: Option<Arc<AuditSinks>>,
    /// Requests under way: they end although their caller has gone.
    pub requests: TaskTracker,
    /// Wakes the sweep.
    pub wake: Arc<Notify>,
    /// Tells other servers which sealing keys this one has; none in a dry run.
    pub ring_presence: Option<Arc<RingPresence>>,
    /// Holds this replica's name while the process lives.
    pub replica: Arc<Replica>,
}

impl App {
    /// Opens the database and brings it up to date; makes what is not there.
    pub async fn open(
        settings: Settings,
        clock: SharedClock,
        randomness: Randomness,
    ) -> Result<Self, StartError> {
        Self::open_for(Purpose::Make, settings, clock, randomness).await
    }

    /// The same of a database that a token server has made already. In an empty one nothing is made:
    /// its name may be mistyped.
    pub async fn open_existing(
        settings: Settings,
        clock: SharedClock,
        randomness: Randomness,
    ) -> Result<Self, StartError> {
        Self::open_for(Purpose::Work, settings, clock, randomness).await
    }

    /// Opens a database that is up to date, to find out what a change would do. Nothing is written.
    ///
    /// # Errors
    ///
    /// Also where something would have to be brought up to date first.
    pub async fn open_for_dry_run(
        settings: Settings,
        clock: SharedClock,
        randomness: Randomness,
    ) -> Result<Self, StartError> {
        Self::open_for(Purpose::DryRun, settings, clock, randomness).await
    }

    async fn open_for(
        purpose: Purpose,
        settings: Settings,
        clock: SharedClock,
        randomness: Randomness,
    ) -> Result<Self, StartError> {
        let database = connect(&settings, &clock).await?;
        let address = database.address().clone();
        let opened = Self::open_on(purpose, database.clone(), settings, clock, randomness);
        let opened = Box::pin(opened).await;
        if opened.is_err() {
            database.close().await;
        }
        opened.map_err(|error| error.at(address))
    }

    async fn open_on(
        purpose: Purpose,
        database: Database,
        settings: Settings,
        clock: SharedClock,
        randomness: Randomness,
    ) -> Result<Self, StartError> {
        if purpose != Purpose::Make {
            schema::must_be_there(&database).await?;
        }
        let replica = match purpose {
            Purpose::Make | Purpose::Work => take_replica(&settings.data_dir, &randomness)?,
            Purpose::DryRun => Replica::passing(&randomness),
        };
        match purpose {
            Purpose::Make | Purpose::Work => {
                schema::bring_up_to_date(&database, &clock, &replica.id).await?;
            }
            Purpose::DryRun => schema::must_be_up_to_date(&database).await?,
        }
        let parts = (&clock, &randomness, &replica.id);
        let OpenedRing { ring, choice } = open_ring(purpose, &settings, &database, parts).await?;
        let ring = Arc::new(ring);
        let audit = AuditLog::new(ring.clone(), replica.id.clone(), randomness.clone());
        let metrics = Arc::new(Metrics::new(settings.metrics_realms_max));
        let ring_presence = choice.map(|choice| {
            let parts = RingPresenceParts {
                database: database.clone(),
                ring: ring.clone(),
                replica: replica.id.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
            };
            Arc::new(RingPresence::start(parts, &choice))
        });
        let memory = Memory::new(
            settings.memory,
            database.clone(),
            ring.clone(),
            clock.clone(),
            &metrics,
        );
        let wake = Arc::new(Notify::new());
        let upstream = Upstream::new(&settings.upstream, clock.clone(), randomness.clone())
            .map_err(|failure| StartError::Upstream(failure.detail))?;
        let upstream = Arc::new(upstream);
        let renewals = Renewals::new(renewal::RenewalsParts {
            database: database.clone(),
            ring: ring.clone(),
            upstream: upstream.clone(),
            clock: clock.clone(),
            randomness: randomness.clone(),
            replica: replica.id.clone(),
            metrics: metrics.clone(),
            settings: settings.renewal.clone(),
            spool: match purpose {
                Purpose::Make | Purpose::Work => open_spool(&settings.data_dir),
                Purpose::DryRun => None,
            },
            wake: wake.clone(),
            memory: memory.clone(),
        });
        let reads = Reads::new(reads::ReadsParts {
            renewals: &renewals,
            database: database.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            ring: ring.clone(),
            memory: memory.clone(),
            upstream: upstream.clone(),
            settings: &settings.renewal,
        });
        let replayed = renewals.replay_spool().await;
        if replayed > 0 {
            tracing::info!(
                name: "spool.found",
                replayed, "found what an earlier process left in the spool"
            );
        }
        if replica.owns_its_name() {
            match renewals.release_own_leases().await {
                Ok(0) => {}
                Ok(released) => tracing::info!(
                    name: "lease.given_back",
                    released,
                    "gave back the leases of this replica's earlier process"
                ),
                Err(error) => tracing::warn!(
                    name: "lease.of_earlier_process_kept",
                    %error,
                    "the leases of this replica's earlier process run out by themselves"
                ),
            }
        }
        let issuers = Issuers::new(
            memory.clone(),
            upstream.clone(),
            clock.clone(),
            &metrics,
            settings.issuers,
        );
        let oidc = settings.console.oidc.clone();
        let oidc = oidc.filter(|_| settings.console.enabled).map(|oidc| {
            let rules = SignInRules::of(oidc.registration.clone());
            (oidc, Arc::new(rules))
        });
        let sign_in = oidc.clone().map(|(settings, rules)| {
            Arc::new(SignIn::new(SignInParts {
                settings,
                rules,
                issuers: &issuers,
                ring: ring.clone(),
                clock: clock.clone(),
                randomness: randomness.clone(),
            }))
        });
        Ok(Self {
            delivery_worker: settings.webhook.clone().map(|webhook| {
                Arc::new(DeliveryWorker {
                    database: database.clone(),
                    upstream: upstream.clone(),
                    clock: clock.clone(),
                    randomness: randomness.clone(),
                    metrics: metrics.clone(),
                    settings: webhook,
                })
            }),
            audit_sinks: (!settings.audit_sinks.is_empty()).then(|| {
                Arc::new(AuditSinks::new(AuditSinksParts {
                    database: database.clone(),
                    log: audit.clone(),
                    upstream: upstream.clone(),
                    clock: clock.clone(),
                    metrics: metrics.clone(),
                    sinks: settings.audit_sinks.clone(),
                }))
            }),
            inbox: Inbox::new(
                database.clone(),
                ring.clone(),
                upstream.clone(),
                clock.clone(),
                &randomness,
                settings.ticket,
                wake.clone(),
            ),
            issuers,
            sign_in,
            sessions: Sessions::new(
                memory.clone(),
                ring.clone(),
                clock.clone(),
                randomness.clone(),
                settings.console.session,
                oidc.map(|(_, rules)| rules),
            ),
            newsroom: Arc::new(Newsroom::new(
                database.clone(),
                clock.clone(),
                memory.changes(),
            )),
            key_uses: Arc::new(KeyUses::new(database.clone(), ring.clone(), clock.clone())),
            overview: Arc::new(OverviewReader::new(database.clone(), clock.clone())),
            event_streams: Arc::new(OpenStreams::new(
                settings.console.event_streams_max,
                settings.console.caller_event_streams_max,
                metrics.event_streams.clone(),
            )),
            registry: Registry::new(RegistryParts {
                database: database.clone(),
                ring: ring.clone(),
                upstream,
                clock: clock.clone(),
                randomness: randomness.clone(),
                wake: wake.clone(),
                memory: memory.clone(),
                audit: audit.clone(),
            }),
            memory,
            audit_writer: AuditWriter::start(
                database.clone(),
                audit.clone(),
                clock.clone(),
                &randomness,
                settings.audit_reads,
                metrics.audit_dropped.clone(),
            ),
            audit,
            address_rates: Arc::new(AddressRates::new(settings.address_rate)),
            watchers: Arc::new(OpenStreams::new(
                settings.http.watchers_max,
                settings.http.caller_watchers_max,
                metrics.watchers.clone(),
            )),
            requests: TaskTracker::new(),
            settings: Arc::new(settings),
            replica: Arc::new(replica),
            lacked_keys: Arc::new(LackedKeys::new(
                database.clone(),
                ring.clone(),
                clock.clone(),
            )),
            database,
            ring,
            ring_presence,
            clock,
            randomness,
            metrics,
            reads,
            renewals,
            wake,
        })
    }

    /// How many realms and secrets are stored; none where the database takes its time.
    pub async fn counted(&self) -> Option<(u64, u64)> {
        let reader = self.database.reader();
        let counting = async {
            let realms = realms::count(reader).await.ok()?;
            Some((realms, secrets::count(reader).await.ok()?))
        };
        let counted = tokio::time::timeout(COUNTED_WITHIN, counting).await;
        counted.ok().flatten()
    }

    pub async fn close(&self) {
        self.audit_writer.close().await;
        if let Some(presence) = &self.ring_presence {
            presence.close().await;
        }
        self.database.close().await;
    }
}
