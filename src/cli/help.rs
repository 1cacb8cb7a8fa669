//! What the help of each command says that it works with.

/// Of commands of the server.
pub(super) const ON_THE_DATABASE: &str =
    "Works on the database, with the configuration of the server.";
/// Of commands of a client.
pub(super) const WITH_A_SERVER: &str = "\
Talks to a running server, and reads no configuration: its URL and a file that holds an API key are \
all that it needs. TLS trusts the system's authorities, or those of the file that SSL_CERT_FILE \
names.";
/// Of a command that asks the server of its own configuration.
pub(super) const WITH_ITS_SERVER: &str =
    "Talks to a running server, at the address of its configuration; opens no database.";
/// Of the others.
pub(super) const ON_NOTHING: &str = "Works without a database, and without a running server.";
