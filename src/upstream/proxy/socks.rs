//! Asks a SOCKS5 proxy for a connection (RFC 1928; user and password by RFC 1929). The connectors
//! that HTTP libraries bring say an address of IPv6 as if it were a name.

use std::net::SocketAddr;

use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::ProxyCredentials;
use super::error::{ProxyRefusal, TunnelError};
use super::target::ProxyTarget;

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
const OF_PASSWORDS: u8 = 1;
const GRANTED: u8 = 0;

/// From then on, the stream leads to the target.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    credentials: Option<&ProxyCredentials>,
    target: &ProxyTarget,
) -> Result<(), TunnelError> {
    let method = match credentials {
        None => NO_AUTHENTICATION,
        Some(_) => USER_AND_PASSWORD,
    };
    stream.write_all(&[VERSION, 1, method]).await?;
    let [version, chosen] = read(stream).await?;
    if version != VERSION {
        return Err(TunnelError::NoProxy);
    }
    match (chosen, credentials) {
        (NO_AUTHENTICATION, None) => {}
        (USER_AND_PASSWORD, Some(credentials)) => authenticate(stream, credentials).await?,
        (NONE_ACCEPTABLE, _) => return Err(TunnelError::Credentials),
        _ => return Err(TunnelError::NoProxy),
    }
    stream.write_all(&request(target)).await?;
    let [version, reply, _, kind] = read(stream).await?;
    if version != VERSION {
        return Err(TunnelError::NoProxy);
    }
    if reply != GRANTED {
        return Err(TunnelError::Refused(ProxyRefusal::Socks(reply)));
    }
    // Where the proxy connects from: an address of the proxy's own, and often none.
    let length = match kind {
        1 => 4,
        3 => read::<1, _>(stream).await?[0].into(),
        4 => 16,
        _ => return Err(TunnelError::NoProxy),
    };
    let mut bound = [0; 255 + 2];
    stream.read_exact(&mut bound[..length + 2]).await?;
    Ok(())
}

async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    credentials: &ProxyCredentials,
) -> Result<(), TunnelError> {
    let mut message = Zeroizing::new(vec![OF_PASSWORDS]);
    for text in [&*credentials.user, credentials.password.expose_secret()] {
        push_with_length(&mut message, text);
    }
    stream.write_all(&message).await?;
    let [_, status] = read(stream).await?;
    match status {
        GRANTED => Ok(()),
        _ => Err(TunnelError::Credentials),
    }
}

fn request(target: &ProxyTarget) -> Vec<u8> {
    let mut message = vec![VERSION, CONNECT, 0];
    match target {
        ProxyTarget::Address(SocketAddr::V4(address)) => {
            message.push(1);
            message.extend(address.ip().octets());
        }
        ProxyTarget::Address(SocketAddr::V6(address)) => {
            message.push(4);
            message.extend(address.ip().octets());
        }
        ProxyTarget::Name(name, _) => {
            message.push(3);
            push_with_length(&mut message, name);
        }
    }
    message.extend(target.port().to_be_bytes());
    message
}

/// Names of hosts and credentials that were read have 255 bytes at most.
fn push_with_length(message: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    message.push(length);
    message.extend(text.bytes().take(length.into()));
}

async fn read<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
