//! The certificate and the time limit with which a client connects.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use rcmd_certs::{
    Layout,
    clock::{self, LONGEST_SPAN},
    enroll::Kind,
    tls::{self, ClientFiles, client_config},
};

use crate::{
    error::Error,
    renewal::{self, Renewed, When},
    target::AddressFamily,
};

/// The default of [`Config::connect_timeout`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The configuration of a client. Cloning it is cheap.
#[derive(Clone)]
pub struct Config {
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) files: ClientFiles,
    layout: Layout,
    /// The time, in Unix time, from which the certificate can no longer be used, if an authority renews it.
    usable_until: Option<i64>,
    pub(crate) connect_timeout: Duration,
    pub(crate) compress: bool,
    pub(crate) family: Option<AddressFamily>,
}

impl Config {
    /// Reads `ca.pem`, `client/cert.pem` and `client/key.pem` in `dir`.
    ///
    /// # Errors
    /// Kind `tls`: a file is missing, unreadable or accessible to other users, or the files do not belong together.
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        let layout = Layout::new(dir);
        let files = ClientFiles::from(&layout);
        let config = client_config(&files)?;
        let renewable = rcmd_certs::files::exists(&layout.contact(Kind::Client));
        let leaf = renewable.then(|| tls::load_leaf(&files.cert)).transpose()?;
        let usable_until = leaf.as_ref().map(renewal::usable_until);
        Ok(Self {
            tls: config,
            files,
            layout,
            usable_until,
            connect_timeout: CONNECT_TIMEOUT,
            compress: false,
            family: None,
        })
    }

    /// Returns this configuration with a certificate that has not expired. One that has expired, or is about to,
    /// is renewed if the identity enrolled with a token. The certificate in memory is examined, not the file,
    /// which another process may have renewed. [`Client::connect`](crate::Client::connect) does this too, but
    /// does not return the new configuration.
    ///
    /// # Errors
    /// Kind `tls`: the certificate has expired and could not be renewed within [`Config::connect_timeout`].
    ///
    /// # Cancel safety
    /// Files are written whole or not at all, also if the future is dropped.
    pub async fn unexpired(&self) -> Result<(Self, Renewed), Error> {
        if self.usable_until.is_none_or(|until| clock::now_unix() <= until) {
            return Ok((self.clone(), Renewed::No));
        }
        let renewed = renewal::renew_within(self.connect_timeout, &self.layout).await?;
        Ok((self.reread()?, renewed))
    }

    /// Returns this configuration with the present files. The certificate of an identity that enrolled with a
    /// token is renewed first, if it is time.
    ///
    /// # Errors
    /// The certificate has expired and could not be renewed. Failing to renew a valid one is not an error.
    pub(crate) async fn refreshed(&self) -> Result<Self, Error> {
        if let Err(error) = renewal::renew(&self.layout, When::Due).await
            && renewal::has_ended(&self.layout)
        {
            return Err(error);
        }
        // If the files can no longer be read, those in memory stay in use.
        Ok(self.reread().unwrap_or_else(|_| self.clone()))
    }

    /// Returns this configuration with the present files.
    fn reread(&self) -> Result<Self, Error> {
        let Self { connect_timeout, compress, family, .. } = *self;
        Ok(Self { connect_timeout, compress, family, ..Self::from_dir(self.layout.dir())? })
    }

    /// Compresses connections, if the server agrees. This helps on a slow link and costs processor time. The
    /// length of compressed data tells an observer of the link more about its content.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// Tries only addresses of this family; with `None`, all addresses of a host.
    #[must_use]
    pub fn address_family(mut self, only: Option<AddressFamily>) -> Self {
        self.family = only;
        self
    }

    /// Sets the time limit for look-up, TCP and TLS together. The default is 10 s; the longest is ten years.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit.min(LONGEST_SPAN);
        self
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("files", &self.files)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}
