package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// findAll says where the databases are that a command may work on: one, or the shards of a configuration. The one of a folder
// has no PostgreSQL; one that isn't a shard has no name.
func (d database) findAll() (folder string, all []store.Shard, err error) {
	r := d.resolve()
	if r.Data != "" {
		return r.Data, []store.Shard{{}}, d.noShards()
	}
	if r.Config == "" {
		return "", nil, usageError("say which database: --config FILE or --data DIR (there is no " + defaultConfig + " here)")
	}
	folder, pg, all, err := config.Locate(r.Config)
	if err != nil {
		return "", nil, err
	}
	if len(all) == 0 {
		all, err = []store.Shard{{Postgres: pg}}, d.noShards()
	}
	if named := all[0].Name != ""; named && d.Shard != "" {
		i := slices.IndexFunc(all, func(s store.Shard) bool { return s.Name == d.Shard })
		if i < 0 {
			return "", nil, usageError(fmt.Sprintf("--shard: there is no shard %q; there are %s", d.Shard, names(all)))
		}
		all = all[i : i+1]
	}
	for _, s := range all {
		if s.Postgres != nil {
			s.Writers, s.Conns = 1, 2                  // one command needs no more
			s.Timeout = max(s.Timeout, 15*time.Second) // a person waits longer than a request
		}
	}
	return folder, all, err
}

func (d database) noShards() error {
	if d.Shard != "" {
		return usageError("--shard: the configuration has no database.shards")
	}
	return nil
}

// names lists shards for people.
func names(all []store.Shard) string {
	var list []string
	for _, s := range all {
		list = append(list, s.Name)
	}
	return strings.Join(list, ", ")
}

// sharded reports whether a command may work on several databases.
func sharded(all []store.Shard) bool { return all[0].Name != "" }

// in says which shard an error is of.
func in(s store.Shard, err error) error {
	if err == nil || s.Name == "" {
		return err
	}
	return fmt.Errorf("shard %s: %w", s.Name, err)
}

// each runs f on all databases, also after one fails.
func (d database) each(ctx context.Context, o store.Options, f func(store.Shard, *store.Store) error) error {
	folder, all, err := d.findAll()
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range all {
		errs = append(errs, in(s, openAt(ctx, folder, s.Postgres, false, o, func(st *store.Store) error { return f(s, st) })))
	}
	return errors.Join(errs...)
}

// everywhere makes a change on all databases, also after one fails.
func (d database) everywhere(ctx context.Context, change func(*admin.Service) error) error {
	return d.each(ctx, store.Options{}, func(_ store.Shard, st *store.Store) error { return change(admin.New(st)) })
}

// wherever runs f on one database after the other, until one has what f is about. What f fails with otherwise says so:
// an error of [verify.KindNotFound].
func (d database) wherever(ctx context.Context, f func(*admin.Service) error) error {
	folder, all, err := d.findAll()
	if err != nil {
		return err
	}
	var away, none error
	for _, s := range all {
		err := openAt(ctx, folder, s.Postgres, false, store.Options{}, func(st *store.Store) error { return f(admin.New(st)) })
		var known *verify.Error
		switch {
		case err == nil:
			return nil
		case errors.As(err, &known) && known.Kind == verify.KindNotFound:
			none = err
		case !sharded(all) || !store.Passing(err):
			return in(s, err)
		default:
			away = errors.Join(away, in(s, err))
		}
	}
	return cmp.Or(away, none)
}

// of says where the project is that a command line names: where there are several shards, in one of them.
func (d database) of(ctx context.Context, idOrName string) (database, error) {
	_, all, err := d.findAll()
	if err == nil && len(all) > 1 {
		d.Shard, err = d.shardOf(ctx, idOrName)
	}
	return d, err
}

// shardOf returns the shard that has the project that a command line names.
func (d database) shardOf(ctx context.Context, idOrName string) (string, error) {
	var found, leaving []store.Shard
	err := d.each(ctx, store.Options{}, func(s store.Shard, st *store.Store) error {
		p, err := admin.New(st).FindProject(ctx, idOrName)
		switch {
		case err == nil && p.Moving:
			leaving = append(leaving, s)
		case err == nil:
			found = append(found, s)
		}
		if errors.Is(err, verify.ErrNoProject) {
			return nil
		}
		return err
	})
	if len(found) == 0 {
		found = leaving
	}
	switch {
	case len(found) > 1:
		return "", fmt.Errorf("shards %s each have a project %q; name one by --shard, or by its id", names(found), idOrName)
	case len(found) == 1:
		return found[0].Name, nil
	case err != nil:
		return "", err
	}
	return "", fmt.Errorf("project %s: %w", idOrName, verify.ErrNoProject)
}

// emptiest returns the shard for a new project: the one that was named, or the one with the fewest projects. For an id that
// somebody chose all shards must answer, so that no two have a project with it.
func (d database) emptiest(ctx context.Context, id verify.ProjectID) (best string, err error) {
	chosen, least := d.Shard, -1
	d.Shard = ""
	err = d.each(ctx, store.Options{}, func(s store.Shard, st *store.Store) error {
		all, err := st.Projects(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(p verify.Project) bool { return p.ID == id }) {
			return fmt.Errorf("project %s: %w", id, verify.ErrExists)
		}
		if id != "" {
			if err := st.NeverDeleted(ctx, id); err != nil {
				return err
			}
		}
		if chosen == s.Name || chosen == "" && (least < 0 || len(all) < least) {
			best, least = s.Name, len(all)
		}
		return nil
	})
	if id == "" && best != "" {
		return best, nil
	}
	return best, err
}
