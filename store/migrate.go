package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"sort"
)

// applicationID marks the file as Drydock's ("DryD"), for file(1) and so that
// another program's database is not taken for an empty one.
const applicationID = 0x44727944

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date. The files of migrations/ are applied
// in the order of their names, each in a transaction; user_version counts
// those applied. They only go forward: to go back, restore a backup.
func migrate(ctx context.Context, db *sql.DB) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	sort.Strings(names)
	for {
		done, err := migrateOne(ctx, db, names)
		if done || err != nil {
			return err
		}
	}
}

// migrateOne applies the next migration. The version is read inside the
// transaction: another process may be migrating the same file.
func migrateOne(ctx context.Context, db *sql.DB, names []string) (done bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback() // does nothing after Commit
	version, err := schemaVersion(ctx, tx)
	if err != nil {
		return false, err
	}
	if version > len(names) {
		return false, fmt.Errorf("its schema is version %d and this Drydock knows %d: %w", version, len(names), ErrNewerSchema)
	}
	if version == len(names) {
		return true, nil
	}
	script, err := migrations.ReadFile(names[version])
	if err != nil {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, string(script)); err != nil {
		return false, fmt.Errorf("apply %s: %w", names[version], err)
	}
	mark := fmt.Sprintf("PRAGMA user_version = %d; PRAGMA application_id = %d", version+1, applicationID)
	if _, err := tx.ExecContext(ctx, mark); err != nil {
		return false, err
	}
	return false, tx.Commit()
}

// schemaVersion is 0 for a new file, and an error for another program's.
func schemaVersion(ctx context.Context, q querier) (int, error) {
	var version, application, tables int
	err := q.QueryRowContext(ctx, `
		SELECT (SELECT user_version FROM pragma_user_version),
		       (SELECT application_id FROM pragma_application_id),
		       (SELECT count(*) FROM sqlite_schema)`).Scan(&version, &application, &tables)
	if err != nil {
		return 0, err
	}
	if application != applicationID && (application != 0 || tables != 0) {
		return 0, ErrForeignFile
	}
	return version, nil
}
