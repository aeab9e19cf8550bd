//! `storage format`: makes log directories belong to a node of a cluster.
//!
//! Writes `meta.properties` and `bootstrap.checkpoint` into every log directory and the metadata log's. Precedent: Kafka's
//! `StorageTool`, `Formatter`, `ScramParser`, with their texts. Unlike there, everything is on disk before the command
//! says that it is (a power cut right after it must not leave a node that never starts), `meta.properties` comes last,
//! because it is what says that a directory is formatted, and no credential is printed. Voters are those of
//! `controller.quorum.voters`: a dynamic quorum is read, not made.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::metadata_log::quorum_records::QuorumRecords;
use super::metadata_log::snapshot;
use crate::controller::Random;
use crate::log::meta_properties::{self, MetaProperties, MetaPropertiesError};
use crate::log::storage::Disk;
use crate::metadata::features::FeaturesImage;
use crate::metadata::metadata_version::MetadataVersion;
use crate::metadata::scram::ScramKey;
use crate::metadata::snapshot::{RecordAndVersion, scram_record};
use crate::metadata::topics::directory_id;
use crate::model::scram::{ScramCredential, ScramMechanism};
use crate::model::time::Wall;
use crate::model::uuid::Uuid;
use crate::protocol::records::metadata::FeatureLevelRecord;
use crate::security::credentials::{UserNameError, check_user_name};
use crate::security::sasl::scram_keys::{NoRandomness, credential_from_password, credential_from_salted, random_salt};

/// What is to be formatted.
#[derive(Clone, Debug)]
pub struct FormatRequest {
    pub cluster_id: String,
    pub node_id: i32,
    /// `log.dirs`
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`, or the first of `log.dirs`.
    pub metadata_log_dir: PathBuf,
    /// `--release-version`
    pub release_version: Option<String>,
    /// `--feature NAME=LEVEL`
    pub features: Vec<(String, i16)>,
    /// `--add-scram`, as given.
    pub add_scram: Vec<String>,
    /// `--ignore-formatted`
    pub ignore_formatted: bool,
}

/// Why nothing, or not everything, was formatted.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("You must specify the cluster id.")]
    NoClusterId,
    #[error("You must specify a valid non-negative node ID.")]
    NodeId,
    #[error("You must specify at least one directory to format")]
    NoDirectories,
    #[error("Unknown metadata.version '{release}'. Supported metadata.version are: {known}")]
    Release { release: String, known: String },
    #[error("Use --release-version instead of --feature metadata.version=X to avoid ambiguity.")]
    MetadataVersionAsFeature,
    #[error("Unsupported feature: {name}. Supported features are: {known}")]
    Feature { name: String, known: String },
    #[error("Feature {name} is not available yet: it can only be set to 0")]
    FeatureLevel { name: String },
    #[error("SCRAM is only supported in metadata.version {} or later.", scram_since())]
    ScramUnsupported,
    #[error("{0}")]
    Scram(#[from] ScramArgumentError),
    #[error("Log directory {} is already formatted. Use --ignore-formatted to ignore this directory and format the others.", .0.display())]
    AlreadyFormatted(PathBuf),
    #[error("{0}")]
    Foreign(#[from] MetaPropertiesError),
    #[error("Error while writing {}: {error}", path.display())]
    Disk { path: PathBuf, error: io::Error },
}

/// What is wrong with an `--add-scram` argument; the texts are Kafka's, except that of a name nobody may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramArgumentError {
    #[error("Failed to find equals sign in SCRAM argument '{0}'")]
    NoEquals(String),
    #[error("The add-scram mechanism {0} is not supported.")]
    Mechanism(String),
    #[error("Expected configuration string to start with [")]
    NoOpening,
    #[error("Expected configuration string to end with ]")]
    NoClosing,
    #[error("No equals sign found in SCRAM component: {0}")]
    Component(String),
    #[error("You must supply 'name' to add-scram")]
    NoName,
    #[error("{0}")]
    Name(UserNameError),
    #[error("Failed to decode given salt: {0}")]
    Salt(String),
    #[error("Failed to parse iterations count: {0}")]
    Iterations(String),
    #[error("Failed to decode given saltedPassword: {0}")]
    SaltedPassword(String),
    #[error("Unknown SCRAM configurations: {0}")]
    Unknown(String),
    #[error("The 'iterations' value must be >= {least} for add-scram using {mechanism}")]
    TooFewIterations { least: i32, mechanism: String },
    #[error("The 'iterations' value must be <= {most} for add-scram using {mechanism}")]
    TooManyIterations { most: i32, mechanism: String },
    #[error("You must supply one of 'password' or 'saltedpassword' to add-scram")]
    NoPassword,
    #[error("You must supply 'salt' with 'saltedpassword' to add-scram")]
    NoSalt,
    #[error("{0}")]
    NoRandomness(#[from] NoRandomness),
}

/// Features that Kafka's command knows besides `metadata.version`.
const FEATURES: [&str; 6] = [
    FeaturesImage::ELIGIBLE_LEADER_REPLICAS,
    FeaturesImage::GROUP,
    "kraft.version",
    "share.version",
    "streams.version",
    FeaturesImage::TRANSACTION,
];
const DEFAULT_ITERATIONS: i32 = 4096;

fn scram_since() -> &'static str {
    MetadataVersion::names()
        .find(|name| MetadataVersion::from_release(name).is_some_and(|v| v.is_scram_supported()))
        .unwrap_or("")
}

/// Formats, and returns the lines to print.
///
/// # Errors
/// Before anything was written, unless it is a disk's.
pub fn format(
    disk: &dyn Disk,
    random: &mut dyn Random,
    request: &FormatRequest,
    now: Wall,
) -> Result<Vec<String>, FormatError> {
    if request.cluster_id.is_empty() {
        return Err(FormatError::NoClusterId);
    }
    if request.node_id < 0 {
        return Err(FormatError::NodeId);
    }
    let version = release(request.release_version.as_deref())?;
    check_features(&request.features)?;
    let records = bootstrap_records(version, &request.add_scram)?;
    let (formatted, empty) = survey(disk, request)?;
    if let Some((path, _)) = formatted.first()
        && !request.ignore_formatted
    {
        return Err(FormatError::AlreadyFormatted(path.clone()));
    }
    if empty.is_empty() {
        return Ok(vec!["All of the log directories are already formatted.".to_owned()]);
    }
    let bootstrap =
        snapshot::encode(0, 0, &QuorumRecords::default(), &records, now).map_err(|error| FormatError::Disk {
            path: request.metadata_log_dir.join(snapshot::BOOTSTRAP_FILE),
            error: io::Error::new(io::ErrorKind::InvalidInput, error),
        })?;
    let mut lines = Vec::new();
    for dir in empty {
        write_dir(disk, random, request, &dir, &bootstrap, now)?;
        let kind = if dir == request.metadata_log_dir { "metadata" } else { "data" };
        lines.push(format!("Formatting {kind} directory {} with metadata.version {version}.", dir.display()));
    }
    Ok(lines)
}

/// The level of a release; without one, the newest.
fn release(name: Option<&str>) -> Result<MetadataVersion, FormatError> {
    let Some(name) = name else { return Ok(MetadataVersion::LATEST) };
    MetadataVersion::from_release(name).ok_or_else(|| FormatError::Release {
        release: name.to_owned(),
        known: MetadataVersion::names().collect::<Vec<_>>().join(", "),
    })
}

fn check_features(features: &[(String, i16)]) -> Result<(), FormatError> {
    for (name, level) in features {
        if name == MetadataVersion::FEATURE {
            return Err(FormatError::MetadataVersionAsFeature);
        }
        if !FEATURES.contains(&name.as_str()) {
            return Err(FormatError::Feature { name: name.clone(), known: FEATURES.join(", ") });
        }
        if *level != 0 {
            return Err(FormatError::FeatureLevel { name: name.clone() });
        }
    }
    Ok(())
}

fn bootstrap_records(version: MetadataVersion, add_scram: &[String]) -> Result<Vec<RecordAndVersion>, FormatError> {
    let level = FeatureLevelRecord { name: MetadataVersion::FEATURE.into(), feature_level: version.level() };
    let mut records = vec![RecordAndVersion::v0(level)];
    if !add_scram.is_empty() && !version.is_scram_supported() {
        return Err(FormatError::ScramUnsupported);
    }
    for argument in add_scram {
        let (key, credential) = parse_scram(argument)?;
        records.push(RecordAndVersion::v0(scram_record(&key, &credential)));
    }
    Ok(records)
}

/// Which directories are formatted, all for this node and cluster, and which are not.
type Survey = (Vec<(PathBuf, MetaProperties)>, Vec<PathBuf>);

fn survey(disk: &dyn Disk, request: &FormatRequest) -> Result<Survey, FormatError> {
    let mut dirs: Vec<PathBuf> = Vec::new();
    // The metadata log's directory last, as its line says that the node is ready.
    let others = request.log_dirs.iter().filter(|dir| **dir != request.metadata_log_dir);
    for dir in others.chain([&request.metadata_log_dir]) {
        if !dirs.contains(dir) {
            dirs.push(dir.clone());
        }
    }
    if request.log_dirs.is_empty() {
        return Err(FormatError::NoDirectories);
    }
    let (mut formatted, mut empty) = (Vec::new(), Vec::new());
    for dir in dirs {
        match MetaProperties::read(disk, &dir)? {
            Some(found) => formatted.push((dir, found)),
            None => empty.push(dir),
        }
    }
    meta_properties::verify(&formatted, request.node_id, Some(&request.cluster_id))?;
    Ok((formatted, empty))
}

fn write_dir(
    disk: &dyn Disk,
    random: &mut dyn Random,
    request: &FormatRequest,
    dir: &Path,
    bootstrap: &[u8],
    now: Wall,
) -> Result<(), FormatError> {
    let failed = |path: PathBuf| |error| FormatError::Disk { path, error };
    make_dir(disk, dir).map_err(failed(dir.to_owned()))?;
    let path = dir.join(snapshot::BOOTSTRAP_FILE);
    disk.replace_file(&path, bootstrap).map_err(failed(path))?;
    let meta = MetaProperties::new(&request.cluster_id, request.node_id, directory(random));
    meta.write(disk, dir, now).map_err(failed(dir.join(meta_properties::FILE_NAME)))
}

/// Makes a directory, durably: every name that is new, in the directory that holds it.
fn make_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for above in dir.ancestors() {
        if above.as_os_str().is_empty() || disk.exists(above)? {
            break;
        }
        missing.push(above);
    }
    disk.create_dir(dir)?;
    for made in missing.into_iter().rev() {
        if let Some(parent) = made.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            disk.sync_dir(parent)?;
        }
    }
    Ok(())
}

/// A new directory id.
fn directory(random: &mut dyn Random) -> Uuid {
    loop {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        if let Some(id) = Uuid::from_random(bytes).filter(|id| !directory_id::is_reserved(*id)) {
            return id;
        }
    }
}

/// Reads `SCRAM-SHA-256=[name=alice,password=alice-secret,iterations=8192]`.
///
/// # Errors
/// The first thing that is wrong, in Kafka's order.
pub fn parse_scram(argument: &str) -> Result<(ScramKey, ScramCredential), ScramArgumentError> {
    use ScramArgumentError as E;
    let (name, rest) = argument.split_once('=').ok_or_else(|| E::NoEquals(argument.to_owned()))?;
    let mechanism = ScramMechanism::from_name(name).ok_or_else(|| E::Mechanism(name.to_owned()))?;
    let components = rest.strip_prefix('[').ok_or(E::NoOpening)?.strip_suffix(']').ok_or(E::NoClosing)?;
    let mut parts = BTreeMap::new();
    for component in components.split(',') {
        let (key, value) = component.split_once('=').ok_or_else(|| E::Component(component.to_owned()))?;
        parts.insert(key, unquoted(value));
    }
    let user = parts.remove("name").ok_or(E::NoName)?;
    check_user_name(user).map_err(E::Name)?;
    let salt =
        parts.remove("salt").map(|text| BASE64.decode(text).map_err(|_| E::Salt(text.to_owned()))).transpose()?;
    let iterations = parts
        .remove("iterations")
        .map_or(Ok(DEFAULT_ITERATIONS), |text| text.parse().map_err(|_| E::Iterations(text.to_owned())))?;
    let password = parts.remove("password");
    let salted = parts.remove("saltedpassword");
    let salted = salted.map(|text| BASE64.decode(text).map_err(|_| E::SaltedPassword(text.to_owned()))).transpose()?;
    if !parts.is_empty() {
        return Err(E::Unknown(parts.into_keys().collect::<Vec<_>>().join(", ")));
    }
    // Kafka's name of its constant, as its text has it.
    let constant = || mechanism.name().replace('-', "_");
    if iterations < ScramMechanism::MIN_ITERATIONS {
        return Err(E::TooFewIterations { least: ScramMechanism::MIN_ITERATIONS, mechanism: constant() });
    }
    if iterations > ScramMechanism::MAX_ITERATIONS {
        return Err(E::TooManyIterations { most: ScramMechanism::MAX_ITERATIONS, mechanism: constant() });
    }
    let credential = match (password, salted, salt) {
        (Some(password), _, salt) => {
            let salt = salt.map_or_else(random_salt, Ok)?;
            let credential = credential_from_password(mechanism, password.as_bytes(), &salt, iterations);
            credential.ok_or_else(|| E::Iterations(iterations.to_string()))?
        }
        (None, Some(salted), Some(salt)) => credential_from_salted(mechanism, &salted, &salt, iterations),
        (None, Some(_), None) => return Err(E::NoSalt),
        (None, None, _) => return Err(E::NoPassword),
    };
    Ok((ScramKey::new(user, mechanism), credential))
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::storage::FaultyDisk;
    use crate::log::storage::faulty::{Effect, Fault};

    #[derive(Debug)]
    struct Counting(u8);

    impl Random for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            self.0 += 1;
            bytes.fill(self.0);
        }
    }

    fn request() -> FormatRequest {
        FormatRequest {
            cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".to_owned(),
            node_id: 1,
            log_dirs: vec!["/data/a".into(), "/data/b".into()],
            metadata_log_dir: "/data/a".into(),
            release_version: None,
            features: Vec::new(),
            add_scram: Vec::new(),
            ignore_formatted: false,
        }
    }

    fn run(disk: &FaultyDisk, request: &FormatRequest) -> Result<Vec<String>, String> {
        format(disk, &mut Counting(0), request, Wall(0)).map_err(|error| error.to_string())
    }

    #[test]
    fn says_what_kafka_says() {
        let disk = FaultyDisk::new();
        let lines = [
            "Formatting data directory /data/b with metadata.version 4.3-IV0.",
            "Formatting metadata directory /data/a with metadata.version 4.3-IV0.",
        ];
        assert_eq!(run(&disk, &request()).unwrap(), lines);
        let again = "Log directory /data/b is already formatted. Use --ignore-formatted to ignore this directory and format \
                     the others.";
        assert_eq!(run(&disk, &request()).unwrap_err(), again);
        let ignoring = FormatRequest { ignore_formatted: true, ..request() };
        assert_eq!(run(&disk, &ignoring).unwrap(), ["All of the log directories are already formatted."]);
        disk.remove_dir(Path::new("/data/b")).unwrap();
        assert_eq!(run(&disk, &ignoring).unwrap(), lines[..1]);
        let other = FormatRequest { cluster_id: "other".to_owned(), ..ignoring };
        assert!(run(&disk, &other).is_err());
        for file in ["/data/a/meta.properties", "/data/b/meta.properties"] {
            let text = String::from_utf8(disk.read_file(Path::new(file), 4096).unwrap()).unwrap();
            assert!(text.contains("node.id=1\n") && text.contains("cluster.id=MkU3OEVBNTcwNTJENDM2Qg\n"), "{text}");
        }
    }

    #[test]
    fn releases_and_features_are_checked() {
        let with = |release: &str| FormatRequest { release_version: Some(release.to_owned()), ..request() };
        let lines = run(&FaultyDisk::new(), &with("3.9")).unwrap();
        assert_eq!(lines[0], "Formatting data directory /data/b with metadata.version 3.9-IV0.");
        assert!(
            run(&FaultyDisk::new(), &with("9.9")).unwrap_err().starts_with(
                "Unknown metadata.version '9.9'. Supported metadata.version are: 3.3-IV3, 3.4-IV0, 3.5-IV0"
            )
        );
        let scram = vec!["SCRAM-SHA-256=[name=alice,password=x]".to_owned()];
        let early = FormatRequest { add_scram: scram, ..with("3.4-IV0") };
        let text = "SCRAM is only supported in metadata.version 3.5-IV2 or later.";
        assert_eq!(run(&FaultyDisk::new(), &early).unwrap_err(), text);
        let feature = |name: &str, level| FormatRequest { features: vec![(name.to_owned(), level)], ..request() };
        assert!(run(&FaultyDisk::new(), &feature("group.version", 0)).is_ok());
        assert!(run(&FaultyDisk::new(), &feature("group.version", 1)).is_err());
        let text = "Unsupported feature: foo. Supported features are: eligible.leader.replicas.version, group.version, \
                    kraft.version, share.version, streams.version, transaction.version";
        assert_eq!(run(&FaultyDisk::new(), &feature("foo", 1)).unwrap_err(), text);
    }

    #[test]
    fn scram_arguments_are_refused_as_kafka_refuses_them() {
        for (argument, text) in [
            ("SCRAM-SHA-256", "Failed to find equals sign in SCRAM argument 'SCRAM-SHA-256'"),
            ("SCRAM-SHA-256=alice", "Expected configuration string to start with ["),
            ("SCRAM-SHA-256=[name=alice", "Expected configuration string to end with ]"),
            ("SCRAM-SHA-1=[name=alice,password=x]", "The add-scram mechanism SCRAM-SHA-1 is not supported."),
            ("SCRAM-SHA-256=[password=x]", "You must supply 'name' to add-scram"),
            ("SCRAM-SHA-256=[name=alice]", "You must supply one of 'password' or 'saltedpassword' to add-scram"),
            (
                "SCRAM-SHA-256=[name=alice,password=x,iterations=100]",
                "The 'iterations' value must be >= 4096 for add-scram using SCRAM_SHA_256",
            ),
            (
                "SCRAM-SHA-512=[name=alice,password=x,iterations=20000]",
                "The 'iterations' value must be <= 16384 for add-scram using SCRAM_SHA_512",
            ),
            ("SCRAM-SHA-256=[name=alice,password=x,iterations=abc]", "Failed to parse iterations count: abc"),
            ("SCRAM-SHA-256=[name=alice,password=x,salt=%%%]", "Failed to decode given salt: %%%"),
            ("SCRAM-SHA-256=[name=alice,password=x,foo=1]", "Unknown SCRAM configurations: foo"),
            (
                "SCRAM-SHA-256=[name=alice,saltedpassword=AAEC]",
                "You must supply 'salt' with 'saltedpassword' to add-scram",
            ),
            ("SCRAM-SHA-256=[]", "No equals sign found in SCRAM component: "),
            ("SCRAM-SHA-256=[name=al,ice,password=x]", "No equals sign found in SCRAM component: ice"),
        ] {
            assert_eq!(parse_scram(argument).unwrap_err().to_string(), text);
        }
        assert!(matches!(parse_scram("SCRAM-SHA-256=[name=*,password=x]"), Err(ScramArgumentError::Name(_))));
    }

    #[test]
    fn a_password_and_its_salted_form_make_the_same_credential() {
        // RFC 7677's example: user, pencil, and PBKDF2 of them.
        let salt = "W22ZaJ0SNY7soEsUEjb6gQ==";
        let plain = format!("SCRAM-SHA-256=[name=\"user\",password=pencil,iterations=4096,salt={salt}]");
        let salted = format!(
            "SCRAM-SHA-256=[name=user,saltedpassword=xKSVEDI6tPlSysH6mUQZOeeOp01r6B3fcJbodRPcYV0=,iterations=4096,salt={salt}]"
        );
        let (key, credential) = parse_scram(&plain).unwrap();
        assert_eq!((&*key.user, key.mechanism), ("user", ScramMechanism::Sha256));
        assert_eq!(BASE64.encode(&credential.stored_key), "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=");
        assert_eq!(BASE64.encode(&credential.server_key), "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
        assert!(parse_scram(&salted).unwrap().1 == credential);
    }

    /// Cuts the power at every operation: what is formatted afterwards is whole, what is not can be formatted.
    #[test]
    fn a_power_cut_never_leaves_half_a_node() {
        let dry = FaultyDisk::new();
        run(&dry, &request()).unwrap();
        let operations = dry.operations();
        assert!(operations > 20, "{operations}");
        for nth in 0..=operations {
            for seed in [None, Some(nth), Some(nth + 1000)] {
                let disk = FaultyDisk::new();
                disk.plan(Fault { operation: None, nth, effect: Effect::Fail });
                let done = run(&disk, &request()).is_ok();
                assert_eq!(done, nth == operations);
                disk.power_cut(seed);
                disk.heal();
                for dir in ["/data/a", "/data/b"].map(Path::new) {
                    let formatted = MetaProperties::read(&disk, dir).unwrap().is_some();
                    assert!(formatted || !done, "{} is gone", dir.display());
                    if formatted {
                        let bootstrap = snapshot::read(&disk, &dir.join(snapshot::BOOTSTRAP_FILE)).unwrap();
                        assert_eq!(bootstrap.map(|found| found.records.len()), Some(1), "cut at {nth}");
                    }
                }
                run(&disk, &FormatRequest { ignore_formatted: true, ..request() }).unwrap();
            }
        }
    }
}
