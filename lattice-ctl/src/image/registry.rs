//! Images in OCI registries: what is in them, and putting one there.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use lattice::{bus::MAX_ARTIFACT, wire::Digest};
use oci_client::{
    Client, Reference,
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol, Config, ImageLayer},
    errors::{OciDistributionError, OciErrorCode},
    manifest::{OciDescriptor, OciImageManifest},
    secrets::RegistryAuth,
};
use tokio::time::timeout;

use super::{Wrong, innermost, web, wrong};
use crate::{
    cli::RegistryOptions,
    failure::{Failure, Result},
};

/// How long a registry may take to answer, and between two parts of an answer.
const CONNECT: Duration = Duration::from_secs(10);
const READ: Duration = Duration::from_secs(30);
/// How long all of one image may take.
const WHOLE: Duration = Duration::from_secs(10 * 60);

/// As the ecosystem has agreed: a component is one layer, and what it imports and exports is in the configuration.
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
const WASM_LAYER: &str = "application/wasm";
/// Of programs there is no such agreement.
const PROGRAM_CONFIG: &str = "application/vnd.oci.empty.v1+json";
const PROGRAM_LAYER: &str = "application/vnd.lattice.program.v1";
/// A layer that holds a provider which speaks the protocol of wasmCloud 1.
const WASMCLOUD_PROVIDER: &str = "application/vnd.wasmcloud.provider";

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registries {
    insecure: Vec<String>,
    ca: Vec<u8>,
}

/// What an image holds, as its manifest says.
pub(crate) struct Found {
    layer: OciDescriptor,
    /// Of the bytes.
    pub(crate) digest: Digest,
}

impl Registries {
    pub(crate) fn new(options: &RegistryOptions) -> Result<Self> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| Failure::File { what: "cannot read", path: path.clone(), source })
        };
        let ca = options.registry_ca.as_ref().map(read).transpose()?.unwrap_or_default();
        Ok(Self { insecure: options.insecure_registry.clone(), ca })
    }

    fn client(&self, image: &Reference) -> std::result::Result<Client, Wrong> {
        let registry = image.resolve_registry();
        let plain =
            self.insecure.iter().any(|insecure| insecure == registry) || (self.ca.is_empty() && is_loopback(registry));
        let certificate = Certificate { encoding: CertificateEncoding::Pem, data: self.ca.clone() };
        let config = ClientConfig {
            protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
            extra_root_certificates: if self.ca.is_empty() { Vec::new() } else { vec![certificate] },
            connect_timeout: Some(CONNECT),
            read_timeout: Some(READ),
            user_agent: concat!("lattice-ctl/", env!("CARGO_PKG_VERSION")),
            // An image for several platforms is none of a component, which has one.
            platform_resolver: None,
            ..ClientConfig::default()
        };
        Client::try_from(config).map_err(|error| {
            wrong(format!("cannot ask {registry}: {error}"), "name certificates in PEM by --registry-ca")
        })
    }

    /// What `image` holds.
    pub(crate) async fn find(&self, image: &Reference, wanted: Wanted) -> std::result::Result<Found, Wrong> {
        let client = self.client(image)?;
        let auth = credentials(image)?;
        let (manifest, _) = self.within(image, client.pull_image_manifest(image, &auth)).await?;
        let layer = layer(image, manifest, wanted)?;
        super::too_large(&format!("oci://{image}"), u64::try_from(layer.size).unwrap_or(u64::MAX))?;
        let digest = layer.digest.parse().map_err(|error| {
            wrong(format!("oci://{image} has a layer whose digest is not one of SHA-256: {error}"), "push it anew")
        })?;
        Ok(Found { layer, digest })
    }

    /// The bytes of what was found.
    pub(crate) async fn fetch(&self, image: &Reference, found: &Found) -> std::result::Result<Bytes, Wrong> {
        let client = self.client(image)?;
        let auth = credentials(image)?;
        client.store_auth_if_needed(image.resolve_registry(), &auth).await;
        let bytes = self.within(image, async {
            let mut blob = client.pull_blob_stream(image, &found.layer).await?;
            let mut bytes = Vec::new();
            while let Some(part) = blob.stream.next().await {
                bytes.extend_from_slice(&part?);
                if bytes.len() > MAX_ARTIFACT {
                    break;
                }
            }
            Ok(bytes)
        });
        let bytes = Bytes::from(bytes.await?);
        match Digest::of(&bytes) {
            digest if digest == found.digest => Ok(bytes),
            digest => Err(wrong(
                format!("oci://{image} is damaged: its layer {} has the digest {digest}", found.digest),
                "ask again, and push it anew when that does not help",
            )),
        }
    }

    /// What is behind a URL, outside of any registry.
    pub(super) async fn fetch_file(&self, url: &str, digest: &Digest) -> std::result::Result<Bytes, Wrong> {
        web::fetch(url, digest, &self.ca).await
    }

    /// Puts one layer with its configuration into a registry; gives the digest of the image.
    pub(crate) async fn push(
        &self,
        image: &Reference,
        bytes: &Bytes,
        kind: &Pushed,
    ) -> std::result::Result<String, Wrong> {
        let client = self.client(image)?;
        let auth = credentials(image)?;
        let (config, layer) = match kind {
            Pushed::Component { config } => (Config::new(config.clone(), WASM_CONFIG.to_owned(), None), WASM_LAYER),
            Pushed::Program => (Config::new(b"{}".to_vec(), PROGRAM_CONFIG.to_owned(), None), PROGRAM_LAYER),
        };
        let layers = [ImageLayer::new(bytes.to_vec(), layer.to_owned(), None)];
        let manifest = OciImageManifest::build(&layers, &config, None);
        self.within(image, client.push(image, &layers, config, &auth, Some(manifest))).await?;
        self.within(image, client.fetch_manifest_digest(image, &auth)).await
    }

    async fn within<T>(
        &self,
        image: &Reference,
        request: impl Future<Output = std::result::Result<T, OciDistributionError>>,
    ) -> std::result::Result<T, Wrong> {
        match timeout(WHOLE, request).await {
            Ok(answer) => answer.map_err(|error| explain(image, &error)),
            Err(_) => Err(wrong(
                format!("{} took longer than {WHOLE:?}", image.resolve_registry()),
                "fetch it another way, and name its file",
            )),
        }
    }
}

/// What an image is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Component,
    Program,
    Either,
}

/// What is pushed.
pub(crate) enum Pushed {
    /// With the configuration that says what it imports and exports.
    Component {
        config: Vec<u8>,
    },
    Program,
}

/// A registry on this machine: nobody else is between.
fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The layer that is meant.
fn layer(image: &Reference, manifest: OciImageManifest, wanted: Wanted) -> std::result::Result<OciDescriptor, Wrong> {
    let is_wasm = |layer: &OciDescriptor| layer.media_type == WASM_LAYER || layer.media_type.ends_with("+wasm");
    if let Some(layer) = manifest.layers.iter().find(|layer| layer.media_type.starts_with(WASMCLOUD_PROVIDER)) {
        return Err(wrong(
            format!("oci://{image} is a provider of wasmCloud ({})", layer.media_type),
            "those speak a protocol of their own: name one of the catalog with `use:`",
        ));
    }
    let total = manifest.layers.len();
    let (wasm, others): (Vec<_>, Vec<_>) = manifest.layers.into_iter().partition(is_wasm);
    let mut layers = match wanted {
        Wanted::Component => wasm,
        Wanted::Either if !wasm.is_empty() => wasm,
        Wanted::Program | Wanted::Either => others,
    };
    match (layers.pop(), layers.len(), wanted) {
        (Some(layer), 0, _) => Ok(layer),
        (None, _, Wanted::Component) => Err(wrong(
            format!("oci://{image} holds no WebAssembly among its {total} layers"),
            "push a component with `lattice-ctl push`, or with another tool as the media type application/wasm",
        )),
        (None, ..) if total > 0 => {
            Err(wrong(format!("oci://{image} is no program: it holds WebAssembly"), "put it under `components:`"))
        }
        (None, ..) => Err(wrong(format!("oci://{image} is empty"), "push something")),
        (Some(_), ..) => Err(wrong(
            format!("oci://{image} has {total} layers, of which several could be meant"),
            "push it with one layer",
        )),
    }
}

/// What the user has logged in with, by the files and helpers of docker and its like.
fn credentials(image: &Reference) -> std::result::Result<RegistryAuth, Wrong> {
    use docker_credential::{CredentialRetrievalError as Error, DockerCredential};
    let registry = image.resolve_registry();
    match docker_credential::get_credential(registry) {
        Ok(DockerCredential::UsernamePassword(name, password)) => Ok(RegistryAuth::Basic(name, password)),
        Ok(DockerCredential::IdentityToken(_)) => Err(wrong(
            format!("what is kept for {registry} is an identity token, which cannot be used here"),
            "log in with a name and a password or access token: `docker login`",
        )),
        Err(Error::ConfigNotFound | Error::NoCredentialConfigured) => Ok(RegistryAuth::Anonymous),
        Err(error) => Err(wrong(
            format!("cannot read what is kept for {registry}: {error}"),
            "mend the file config.json in ~/.docker or DOCKER_CONFIG, or log in again",
        )),
    }
}

fn explain(image: &Reference, error: &OciDistributionError) -> Wrong {
    use OciDistributionError as E;
    let registry = image.resolve_registry();
    let login = "log in with `docker login`, or another tool that writes ~/.docker/config.json (or DOCKER_CONFIG)";
    let missing = "correct the name or the tag, or push it";
    match error {
        E::UnauthorizedError { .. } | E::AuthenticationFailure(_) | E::ServerError { code: 401 | 403, .. } => {
            wrong(format!("{registry} does not let you at oci://{image}"), login)
        }
        E::ServerError { code: 404, .. } | E::ImageManifestNotFoundError(_) => {
            wrong(format!("{registry} has no image oci://{image}"), missing)
        }
        E::RegistryError { envelope, .. } => {
            let is_unknown = |code: &OciErrorCode| {
                matches!(code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound)
            };
            let said: Vec<_> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
            match envelope.errors.iter().any(|error| is_unknown(&error.code)) {
                true => wrong(format!("{registry} has no image oci://{image}"), missing),
                false => wrong(format!("{registry} refuses oci://{image}: {}", said.join(", ")), login),
            }
        }
        E::ImageIndexParsingNoPlatformResolverError => wrong(
            format!("oci://{image} is for several platforms"),
            "name the image of one platform by its digest: oci://registry/repository@sha256:...",
        ),
        error => wrong(
            format!("cannot reach {registry} for oci://{image}: {}", innermost(error)),
            "check the name, the network, and for a registry of your own --registry-ca or --insecure-registry",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(layers: &[&str], wanted: Wanted) -> std::result::Result<String, String> {
        let image: Reference = "ghcr.io/acme/cart:1".parse().unwrap();
        let layer =
            |media_type: &&str| OciDescriptor { media_type: (*media_type).to_owned(), ..OciDescriptor::default() };
        let manifest = OciImageManifest { layers: layers.iter().map(layer).collect(), ..OciImageManifest::default() };
        super::layer(&image, manifest, wanted).map(|layer| layer.media_type).map_err(|wrong| wrong.message)
    }

    #[test]
    fn the_layer_that_is_meant_is_found() {
        for wasm in [
            WASM_LAYER,
            "application/vnd.wasm.content.layer.v1+wasm",
            "application/vnd.module.wasm.content.layer.v1+wasm",
        ] {
            assert_eq!(found(&[wasm], Wanted::Component).as_deref(), Ok(wasm));
            assert_eq!(found(&["application/json", wasm], Wanted::Either).as_deref(), Ok(wasm));
            assert_eq!(
                found(&[wasm], Wanted::Program).unwrap_err(),
                "oci://ghcr.io/acme/cart:1 is no program: it holds WebAssembly"
            );
        }
        assert_eq!(found(&[PROGRAM_LAYER], Wanted::Either).as_deref(), Ok(PROGRAM_LAYER));
        assert!(found(&[WASM_LAYER, WASM_LAYER], Wanted::Either).unwrap_err().contains("several could be meant"));
        assert!(
            found(&["application/vnd.docker.image.rootfs.diff.tar.gzip"], Wanted::Component)
                .unwrap_err()
                .contains("no WebAssembly")
        );
        let provider = "application/vnd.wasmcloud.provider.archive.layer.v1+par";
        assert!(found(&[provider], Wanted::Program).unwrap_err().contains("is a provider of wasmCloud"));
    }

    #[test]
    fn only_this_machine_is_asked_without_encryption() {
        for near in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.3.2.1", "[::1]:5000"] {
            assert!(is_loopback(near), "{near}");
        }
        for far in ["ghcr.io", "localhost.example.com", "10.0.0.1:5000", "127.example.com"] {
            assert!(!is_loopback(far), "{far}");
        }
    }
}
