//! A TCP connection to the first of a host's addresses that takes one.
//!
//! Each is tried a moment after the one before it, so that a dead address, or a dead family, costs that moment (RFC 8305
//! §5). Never an address that it was not given.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// RFC 8305 §8: the connection attempt delay.
const DELAY: Duration = Duration::from_millis(250);

/// Connects to one of these addresses.
///
/// # Errors
/// The last failure, when all of them failed.
pub(super) async fn connect(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let mut rest = addresses.iter().copied();
    let mut trouble = io::Error::new(io::ErrorKind::AddrNotAvailable, "there is no address");
    let mut attempts = JoinSet::new(); // ends those that are left with this function
    let mut begin = |attempts: &mut JoinSet<io::Result<(TcpStream, SocketAddr)>>| match rest.next() {
        None => false,
        Some(address) => {
            attempts.spawn(async move { TcpStream::connect(address).await.map(|stream| (stream, address)) });
            true
        }
    };
    let mut more = begin(&mut attempts);
    loop {
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok((stream, address)))) => {
                    stream.set_nodelay(true)?;
                    return Ok((stream, address));
                }
                Some(Ok(Err(error))) => {
                    trouble = error;
                    more = begin(&mut attempts);
                }
                Some(Err(_)) => more = begin(&mut attempts),
                None => return Err(trouble),
            },
            () = sleep(DELAY), if more => more = begin(&mut attempts),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;
    use std::time::Instant;
    use tokio::net::{TcpListener, TcpSocket};

    /// An address whose queue of connections is full, so that it is as silent as a dead one.
    async fn silent() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            held.push(stream);
        }
        (address, held, listener)
    }

    #[tokio::test]
    async fn a_silent_or_closed_address_costs_a_moment() {
        let (dead, _held, _listener) = silent().await;
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live = (live.local_addr().unwrap(), live);
        let start = Instant::now();
        let (_, address) = connect(&[dead, closed, live.0]).await.unwrap();
        assert_eq!(address, live.0);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(connect(&[closed]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect(&[]).await.is_err());
    }
}
