//! Opens everything a command needs, in order: the database, its schema, the key ring,
//! the administrator's key.

mod data_dir;
mod key_file;
mod ring;
mod start_error;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::access::address_rates::AddressRates;
use crate::access::audit::AuditLog;
use crate::access::key::{self, KeyHash};
use crate::access::store::{self as keys, FoundKey};
use crate::access::writer::AuditWriter;
use crate::config::Settings;
use crate::foundation::clock::SharedClock;
use crate::foundation::database::{Database, DbError};
use crate::foundation::metrics::Metrics;
use crate::foundation::randomness::Randomness;
use crate::foundation::replica::Replica;
use crate::foundation::sealing::KeyRing;
use crate::foundation::sealing_keys::LackedKeys;
use crate::issuers::Issuers;
use crate::jobs::audit_sinks::{AuditSinks, AuditSinksParts};
use crate::memory::Memory;
use crate::reads::{self, Reads};
use crate::realm::store as realms;
use crate::registry::{Registry, RegistryParts};
use crate::renewal::{self, Renewals, Spool};
use crate::secret::store as secrets;
use crate::ticket::inbox::Inbox;
use crate::upstream::Upstream;
use crate::webhook::delivery_worker::DeliveryWorker;
use key_file::{ADMIN_KEY_FILE, read_secret, write_secret};
pub use ring::ForgottenKeys;
use ring::open_ring;
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
    /// Takes pushed tickets.
    pub inbox: Inbox,
    /// Takes denied calls, looks and uses.
    pub audit_writer: AuditWriter,
    /// Writes this server's chain of the audit.
    pub audit: AuditLog,
    /// Calls without a good key, by address.
    pub address_rates: Arc<AddressRates>,
    /// Tells the webhook; none where there is none.
    pub delivery_worker: Option<Arc<DeliveryWorker>>,
    /// Copies the audit; none where it is copied nowhere.
    pub audit_sinks: Option<Arc<AuditSinks>>,
    /// Requests under way: they end although their caller has gone.
    pub requests: TaskTracker,
    /// Wakes the sweep.
    pub wake: Arc<Notify>,
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
        let database = connect(&settings, &clock).await?;
        Self::open_connected(database, settings, clock, randomness).await
    }

    /// The same of a database that a token server has made already. In an empty one nothing is made:
    /// its name may be mistyped.
    pub async fn open_existing(
        settings: Settings,
        clock: SharedClock,
        randomness: Randomness,
    ) -> Result<Self, StartError> {
        let database = connect(&settings, &clock).await?;
        let address = database.address().clone();
        if let Err(error) = must_have_schema(&database).await {
            database.close().await;
            return Err(error.at(address));
        }
        Self::open_connected(database, settings, clock, randomness).await
    }

    async fn open_connected(
        database: Database,
        settings: Settings,
        clock: SharedClock,
        randomness: Randomness,
    ) -> Result<Self, StartError> {
        let address = database.address().clone();
        let opened = Self::open_on(database, settings, clock, randomness);
        Box::pin(opened).await.map_err(|error| error.at(address))
    }

    async fn open_on(
        database: Database,
        settings: Settings,
        clock: SharedClock,
        randomness: Randomness,
    ) -> Result<Self, StartError> {
        let replica = take_replica(&settings.data_dir, &randomness)?;
        let steps = database.migrate(clock.as_ref(), &replica.id).await?;
        if steps > 0 {
            tracing::info!(
                database = %database.address(),
                steps,
                "the schema was brought up to date"
            );
        }
        let ring = Arc::new(open_ring(&settings, &database, &clock, &randomness).await?);
        let audit = AuditLog::new(ring.clone(), replica.id.clone(), randomness.clone());
        let metrics = Arc::new(Metrics::new(settings.metrics_realms_max));
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
            spool: open_spool(&settings.data_dir),
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
            tracing::info!(replayed, "found what an earlier process left in the spool");
        }
        if replica.owns_its_name() {
            match renewals.release_own_leases().await {
                Ok(0) => {}
                Ok(released) => tracing::info!(
                    released,
                    "gave back the leases of this replica's earlier process"
                ),
                Err(error) => tracing::warn!(
                    %error,
                    "the leases of this replica's earlier process run out by themselves"
                ),
            }
        }
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
            issuers: Issuers::new(memory.clone(), upstream.clone(), clock.clone(), &metrics),
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
            requests: TaskTracker::new(),
            settings: Arc::new(settings),
            replica: Arc::new(replica),
            lacked_keys: Arc::new(LackedKeys::new(database.clone(), ring.clone())),
            database,
            ring,
            clock,
            randomness,
            metrics,
            reads,
            renewals,
            wake,
        })
    }

    /// Makes sure that somebody can administer the server. Answers the file a new key was
    /// written to.
    pub async fn ensure_admin_key(&self) -> Result<Option<PathBuf>, StartError> {
        let path = self.settings.data_dir.join(ADMIN_KEY_FILE);
        if let Some(key) = &self.settings.admin_key {
            self.registry.set_bootstrap_key(key).await?;
            return Ok(None);
        }
        let (reader, now) = (self.database.reader(), self.clock.now());
        let kept = read_secret(&path)?;
        if keys::has_admin(reader, &self.ring, now)
            .await
            .map_err(DbError::from)?
        {
            if let Some(key) = &kept {
                let good = keys::find_good(reader, &self.ring, &KeyHash::of(key), now).await;
                let good = good.map_err(DbError::from)?;
                if !matches!(good, FoundKey::Good(_)) {
                    tracing::warn!(
                        path = %path.display(),
                        "the key in this file is not good any more: another administrator's key is; delete the file, or set admin_key"
                    );
                }
            }
            return Ok(None);
        }
        let key = match kept {
            Some(key) => key,
            None => {
                let key = key::generate(&self.randomness);
                write_secret(&path, &key)?;
                key
            }
        };
        self.registry.set_bootstrap_key(&key).await?;
        Ok(Some(path))
    }

    /// The administrator's key, where this server was given one or made one.
    pub fn admin_key(&self) -> Result<Option<SecretString>, StartError> {
        match &self.settings.admin_key {
            Some(key) => Ok(Some(key.clone())),
            None => read_secret(&self.settings.data_dir.join(ADMIN_KEY_FILE)),
        }
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
        self.database.close().await;
    }
}

async fn connect(settings: &Settings, clock: &SharedClock) -> Result<Database, StartError> {
    data_dir::keep_private(settings)?;
    let connecting = Database::connect(&settings.database, clock.clone());
    Ok(Box::pin(connecting).await?)
}

async fn must_have_schema(database: &Database) -> Result<(), StartError> {
    match database.has_no_schema().await.map_err(DbError::from)? {
        true => Err(StartError::NoSchema(Box::new(database.address().clone()))),
        false => Ok(()),
    }
}

/// Brings the schema up to date without opening anything else.
pub async fn migrate(
    settings: &Settings,
    clock: &SharedClock,
    randomness: &Randomness,
) -> Result<usize, StartError> {
    let database = connect(settings, clock).await?;
    let replica = take_replica(&settings.data_dir, randomness)?;
    let migrated = database.migrate(clock.as_ref(), &replica.id).await;
    database.close().await;
    migrated.map_err(|error| StartError::from(error).at(database.address().clone()))
}

/// Gives up a sealing key that is lost for good, or all that are lacked, and what was sealed with
/// them.
pub async fn forget_keys(
    settings: &Settings,
    clock: &SharedClock,
    randomness: &Randomness,
    id: Option<&str>,
) -> Result<ForgottenKeys, StartError> {
    let database = connect(settings, clock).await?;
    let forgetting = async {
        must_have_schema(&database).await?;
        let replica = take_replica(&settings.data_dir, randomness)?;
        database.migrate(clock.as_ref(), &replica.id).await?;
        let by = (clock, randomness, &replica.id);
        ring::forget_keys(settings, &database, by, id).await
    };
    let forgotten = forgetting.await;
    database.close().await;
    forgotten.map_err(|error| error.at(database.address().clone()))
}

fn take_replica(data_dir: &Path, randomness: &Randomness) -> Result<Replica, StartError> {
    Replica::take(data_dir, randomness).map_err(|source| StartError::File {
        path: data_dir.to_owned(),
        source,
    })
}

/// Says so where what is spooled would not outlive the process: a refresh token could be
/// lost with the database away.
fn open_spool(data_dir: &Path) -> Option<Spool> {
    match Spool::open(data_dir) {
        Ok(spool) => {
            if let Some(file_system) = spool.passing_file_system() {
                tracing::warn!(
                    file_system,
                    "data_dir does not outlive this machine or container: a token issued while the database is away is lost with it; put data_dir on a volume"
                );
            }
            Some(spool)
        }
        Err(error) => {
            tracing::warn!(
                %error,
                "data_dir cannot be written to: a token issued while the database is away is lost with the process"
            );
            None
        }
    }
}
