//! Many bytes one way by splice(2): they never enter the process.

use std::future::poll_fn;
use std::io;

use tokio::io::Interest;

use super::pipe::Pipe;
use super::side::{Broken, source_broke, target, target_broke};
use super::{CHUNK, CHUNKS_IN_A_ROW, Way, source_breaks};

/// A read of so many bytes makes a direction a bulk transfer; below it a copy is as cheap.
pub(super) const MANY: usize = 16 * 1024;
/// So much is moved before others may run, as when it is copied.
const IN_A_ROW: usize = CHUNK * CHUNKS_IN_A_ROW as usize;
/// Small turns in a row that end a bulk transfer.
const SMALL_TURNS: u32 = 4;

/// Why a bulk transfer stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The source has sent its FIN.
    End,
    /// Few bytes come, or there is no pipe: go on by copying.
    Calm,
}

/// Moves bytes until the source's FIN or until few come at once.
pub(super) async fn bulk<const TO_SERVER: bool>(way: &Way<'_, TO_SERVER>) -> Result<Stop, Broken> {
    way.write_again().map_err(target_broke::<TO_SERVER>)?;
    let from = &way.from;
    let (mut small, mut in_a_row) = (0, 0);
    while small < SMALL_TURNS {
        poll_fn(|cx| {
            way.settle()?;
            from.as_ref().poll_read_ready(cx)
        })
        .await
        .map_err(source_broke::<TO_SERVER>)?;
        // Taken only now: who waits for bytes needs none.
        let Some(mut pipe) = Pipe::take() else {
            return Ok(Stop::Calm);
        };
        let filled = from
            .as_ref()
            .try_io(Interest::READABLE, || pipe.fill(from.as_ref(), IN_A_ROW));
        let n = match filled {
            Ok(0) => return Ok(Stop::End),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                in_a_row = 0;
                continue;
            }
            Err(error) => return Err(source_broke::<TO_SERVER>(error)),
        };
        pour(&mut pipe, way).await?;
        small = if n < MANY { small + 1 } else { 0 };
        in_a_row += n;
        if in_a_row >= IN_A_ROW {
            in_a_row = 0;
            way.state.others_first().await;
        }
    }
    Ok(Stop::Calm)
}

/// Empties the pipe. The source is not read meanwhile, but its abort is heard.
async fn pour<const TO_SERVER: bool>(
    pipe: &mut Pipe,
    way: &Way<'_, TO_SERVER>,
) -> Result<(), Broken> {
    let to = &way.to;
    let mut waiting = None;
    while pipe.held() > 0 {
        match to
            .as_ref()
            .try_io(Interest::WRITABLE, || pipe.drain(to.as_ref()))
        {
            Ok(n) => way.count(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                waiting.get_or_insert_with(|| way.state.waiting(target::<TO_SERVER>()));
                tokio::select! {
                    biased;
                    ready = to.ready(Interest::WRITABLE) => {
                        ready.map_err(target_broke::<TO_SERVER>)?;
                    }
                    broken = source_breaks::<TO_SERVER>(&way.from) => return Err(broken),
                }
            }
            Err(error) => return Err(target_broke::<TO_SERVER>(error)),
        }
    }
    Ok(())
}
