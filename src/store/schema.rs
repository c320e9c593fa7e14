//! The tables, in words that both databases understand.

/// The version of the schema. A database of a later one is refused.
pub(super) const VERSION: i64 = 4;

/// The statements that make the tables, that of the schema's version first. None of them changes a table that is there;
/// what an older one lacks is in [`ADDED`]. `{serial}`, `{bytes}`, `{int}`, `{real}` and `{strict}` stand for
/// what each database calls them.
pub(super) const TABLES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS weir_schema (version {int} NOT NULL){strict}",
    "CREATE TABLE IF NOT EXISTS version_key (
        key {serial}, model TEXT NOT NULL, version {int} NOT NULL, digest {bytes} NOT NULL, labels TEXT NOT NULL,
        answers {int} NOT NULL, UNIQUE (model, version, digest)){strict}",
    // Predictions in blocks; see the module `block`.
    "CREATE TABLE IF NOT EXISTS prediction (
        block {serial}, first_id {bytes} NOT NULL, last_id {bytes} NOT NULL, first_at {int} NOT NULL,
        last_at {int} NOT NULL, samples {int} NOT NULL, data {bytes} NOT NULL){strict}",
    "CREATE INDEX IF NOT EXISTS prediction_first_id ON prediction (first_id)",
    // A clock that jumps dates blocks out of their order; since version 4.
    "CREATE INDEX IF NOT EXISTS prediction_first_at ON prediction (first_at)",
    "CREATE INDEX IF NOT EXISTS prediction_last_at ON prediction (last_at)",
    // The bytes of all blocks, in one row: adding them up would read them all. Since version 4.
    "CREATE TABLE IF NOT EXISTS prediction_bytes (bytes {int} NOT NULL){strict}",
    "CREATE TABLE IF NOT EXISTS client_id (
        client TEXT NOT NULL, id {bytes} NOT NULL, at {int} NOT NULL, PRIMARY KEY (client, id)){strict}",
    "CREATE INDEX IF NOT EXISTS client_id_at ON client_id (at)",
    // The samples that were asked about, by the hour.
    "CREATE TABLE IF NOT EXISTS traffic (
        key {int} NOT NULL, bucket {int} NOT NULL, samples {int} NOT NULL, answered {int} NOT NULL,
        PRIMARY KEY (key, bucket)){strict}",
    "CREATE TABLE IF NOT EXISTS feedback (
        seq {serial}, digest {bytes} NOT NULL UNIQUE, target TEXT NOT NULL, id {bytes}, item {int} NOT NULL,
        model TEXT, content TEXT NOT NULL, source {int} NOT NULL, annotator TEXT NOT NULL, labelled_at {int},
        received {int} NOT NULL, state {int} NOT NULL, inclusion_ppb {int}){strict}",
    "CREATE INDEX IF NOT EXISTS feedback_sample ON feedback (id, item)",
    "CREATE INDEX IF NOT EXISTS feedback_held ON feedback (seq) WHERE state = 2",
    "CREATE INDEX IF NOT EXISTS feedback_target ON feedback (target)",
    // The audit trail: each row's hash is of its entry and of the hash before it; since version 2.
    "CREATE TABLE IF NOT EXISTS audit (
        seq {serial}, digest {bytes} NOT NULL UNIQUE, at {int} NOT NULL, entry TEXT NOT NULL, previous {bytes} NOT NULL,
        hash {bytes} NOT NULL){strict}",
    // What was erased on request, by a hash of the identifier; since version 2.
    "CREATE TABLE IF NOT EXISTS erased (digest {bytes} NOT NULL PRIMARY KEY, at {int} NOT NULL){strict}",
    // What is true of a sample as all its labels together have it, and what follows for the version.
    "CREATE TABLE IF NOT EXISTS outcome (
        id {bytes} NOT NULL, item {int} NOT NULL, key {int} NOT NULL, at {int} NOT NULL, seq {int} NOT NULL,
        source {int} NOT NULL, truth {int}, predicted {int}, correct {int}, confidence_nano {int}, loss_nano {int},
        brier_nano {int}, error {int}, delay_us {int} NOT NULL, inclusion_ppb {int}, PRIMARY KEY (id, item, key)){strict}",
    "CREATE INDEX IF NOT EXISTS outcome_seq ON outcome (key, seq)",
    // Sums over outcomes, by the hour of the prediction. All of them are integers, so that taking back gives 0.
    "CREATE TABLE IF NOT EXISTS quality (
        key {int} NOT NULL, bucket {int} NOT NULL, source {int} NOT NULL, samples {int} NOT NULL, judged {int} NOT NULL,
        correct {int} NOT NULL, scored {int} NOT NULL, loss_nano {int} NOT NULL, brier_nano {int} NOT NULL,
        valued {int} NOT NULL, error {int} NOT NULL, absolute {int} NOT NULL, square_high {int} NOT NULL,
        square_low {int} NOT NULL, delay_us {int} NOT NULL, PRIMARY KEY (key, bucket, source)){strict}",
    "CREATE TABLE IF NOT EXISTS confusion (
        key {int} NOT NULL, bucket {int} NOT NULL, source {int} NOT NULL, truth {int} NOT NULL,
        predicted {int} NOT NULL, samples {int} NOT NULL, PRIMARY KEY (key, bucket, source, truth, predicted)){strict}",
    "CREATE TABLE IF NOT EXISTS calibration (
        key {int} NOT NULL, bucket {int} NOT NULL, source {int} NOT NULL, bin {int} NOT NULL, samples {int} NOT NULL,
        correct {int} NOT NULL, confidence_nano {int} NOT NULL, PRIMARY KEY (key, bucket, source, bin)){strict}",
    // What was promised of the samples of outcomes and whether it was kept, the sums over these, and over all answers;
    // see the module `promise`. Since version 3.
    "CREATE TABLE IF NOT EXISTS promised (
        id {bytes} NOT NULL, item {int} NOT NULL, key {int} NOT NULL, at {int} NOT NULL, settled {bytes} NOT NULL,
        PRIMARY KEY (id, item, key)){strict}",
    "CREATE TABLE IF NOT EXISTS promise (
        key {int} NOT NULL, bucket {int} NOT NULL, source {int} NOT NULL, code {int} NOT NULL, samples {int} NOT NULL,
        given {int} NOT NULL, kept {int} NOT NULL, PRIMARY KEY (key, bucket, source, code)){strict}",
    "CREATE TABLE IF NOT EXISTS promise_traffic (
        key {int} NOT NULL, bucket {int} NOT NULL, code {int} NOT NULL, samples {int} NOT NULL, given {int} NOT NULL,
        PRIMARY KEY (key, bucket, code)){strict}",
    // Sums over the outcomes whose samples were chosen with a known probability; since version 3.
    "CREATE TABLE IF NOT EXISTS weighted (
        key {int} NOT NULL, bucket {int} NOT NULL, source {int} NOT NULL, judged {int} NOT NULL, weight {int} NOT NULL,
        correct {int} NOT NULL, square_high {int} NOT NULL, square_low {int} NOT NULL,
        correct_square_high {int} NOT NULL, correct_square_low {int} NOT NULL, scored {int} NOT NULL,
        loss_high {int} NOT NULL, loss_low {int} NOT NULL, PRIMARY KEY (key, bucket, source)){strict}",
    // Captured inputs, each content once, and the samples that had it, with their answers; since version 3.
    "CREATE TABLE IF NOT EXISTS input (sha256 {bytes} NOT NULL PRIMARY KEY, size {int} NOT NULL, data {bytes} NOT NULL){strict}",
    // The sizes are added up without reading the inputs.
    "CREATE INDEX IF NOT EXISTS input_size ON input (size)",
    "CREATE TABLE IF NOT EXISTS captured (
        id {bytes} NOT NULL, item {int} NOT NULL, key {int} NOT NULL, at {int} NOT NULL, sha256 {bytes} NOT NULL,
        inclusion_ppb {int} NOT NULL, data {bytes} NOT NULL, PRIMARY KEY (id, item, key)){strict}",
    "CREATE INDEX IF NOT EXISTS captured_at ON captured (at)",
    "CREATE INDEX IF NOT EXISTS captured_key ON captured (key, at)",
    "CREATE INDEX IF NOT EXISTS captured_input ON captured (sha256)",
];

/// The statements that change tables of older schemas, each with the version that has it.
pub(super) const ADDED: &[(i64, &str)] = &[
    (3, "ALTER TABLE feedback ADD COLUMN inclusion_ppb {int}"),
    (3, "ALTER TABLE outcome ADD COLUMN inclusion_ppb {int}"),
    (4, "INSERT INTO prediction_bytes (bytes) SELECT CAST(COALESCE(SUM(LENGTH(data)), 0) AS BIGINT) FROM prediction"),
];

/// The tables.
pub(super) const NAMES: &[&str] = &[
    "version_key",
    "prediction",
    "prediction_bytes",
    "client_id",
    "traffic",
    "feedback",
    "erased",
    "audit",
    "outcome",
    "quality",
    "confusion",
    "calibration",
    "promised",
    "promise",
    "promise_traffic",
    "weighted",
    "input",
    "captured",
];

/// Puts the words of a database into a statement.
pub(super) fn in_words_of(statement: &str, is_postgres: bool) -> String {
    let words = match is_postgres {
        true => [
            ("{serial}", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
            ("{bytes}", "BYTEA"),
            ("{int}", "BIGINT"),
            ("{real}", "DOUBLE PRECISION"),
            ("{strict}", ""),
        ],
        false => [
            ("{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
            ("{bytes}", "BLOB"),
            ("{int}", "INTEGER"),
            ("{real}", "REAL"),
            ("{strict}", " STRICT"),
        ],
    };
    words.iter().fold(statement.to_owned(), |text, (name, word)| text.replace(name, word))
}
