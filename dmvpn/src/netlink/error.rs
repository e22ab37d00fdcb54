//! What can go wrong with the kernel's tables, in words an operator can act on.

use std::io;

use nix::errno::Errno;

/// What was to be done, on which interface, prefix or address, and why it was not.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct Error {
    what: String,
    cause: Cause,
}

impl Error {
    pub(super) fn new(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self { what: what.into(), cause: cause.into() }
    }

    /// The kernel's error number, when it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        self.cause.errno()
    }

    /// Why it was not done.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The kernel refused.
    #[error("{}", refusal(*errno, message.as_deref()))]
    Refused {
        /// Its error number.
        errno: Errno,
        /// Its own words, where it has some (extended acknowledgement).
        message: Option<String>,
    },
    /// The kernel did not answer in time.
    #[error("no answer from the kernel in time")]
    NoAnswer,
    /// The connection to the kernel has ended.
    #[error("the netlink connection is closed; see the log for why, and restart the agent")]
    Closed,
    /// A table changed each time it was listed.
    #[error("the table kept changing while it was listed")]
    Interrupted,
    /// What exists does not allow it: what exists, and what to do.
    #[error("{0}")]
    Conflict(String),
    /// The answer could not be understood.
    #[error("the kernel's answer was not understood: {0}")]
    Malformed(String),
}

impl Cause {
    /// The kernel's error number, when it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self::Refused { errno, message: None }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Errno::from_raw(number).into(),
            None => Self::Malformed(error.to_string()),
        }
    }
}

/// The error number in words, what the kernel added, and what to do about it where that is known.
fn refusal(errno: Errno, message: Option<&str>) -> String {
    let mut text = errno.desc().to_owned();
    if let Some(message) = message {
        text.push_str(": ");
        text.push_str(message);
    }
    let advice = match errno {
        Errno::EPERM | Errno::EACCES => {
            "this needs the capability CAP_NET_ADMIN: run as root or grant it to the service"
        }
        Errno::ENODEV | Errno::ENXIO => "the interface does not exist (any more)",
        Errno::ENETDOWN => "set the interface up",
        Errno::EOPNOTSUPP => "the running kernel lacks this feature",
        Errno::EAFNOSUPPORT => "this address family is disabled in the running kernel",
        _ => return text,
    };
    text.push_str(" (");
    text.push_str(advice);
    text.push(')');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_where_why_and_what_to_do() {
        let cause = Cause::Refused { errno: Errno::EPERM, message: Some("no way".to_owned()) };
        let text = Error::new("add route 192.0.2.0/24 to dmvpn0", cause).to_string();
        assert_eq!(
            text,
            "add route 192.0.2.0/24 to dmvpn0: Operation not permitted: no way (this needs the capability \
             CAP_NET_ADMIN: run as root or grant it to the service)"
        );
    }

    #[test]
    fn keeps_the_error_number_of_an_io_error() {
        let error = Error::new("x", io::Error::from_raw_os_error(Errno::ENODEV as i32));
        assert_eq!(error.errno(), Some(Errno::ENODEV));
    }
}
