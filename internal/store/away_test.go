package store_test

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// notAsked are the methods for files, which PostgreSQL has none of, and those of tests.
var notAsked = map[string]bool{"Backup": true, "Intact": true, "Enqueue": true, "Pragma": true, "Setting": true, "Discard": true, "Attend": true}

// Every method that asks the database must come back when that says nothing. They are found by
// reflection, so that a new one can't be forgotten.
func TestNoMethodWaitsForADatabaseThatIsSilent(t *testing.T) {
	t.Parallel()
	direct := storetest.Lent(t)
	w := pgtest.WireTo(t, direct)
	s := replica(t, w.URL(direct), func(o *store.Options) { o.Postgres.Timeout = 2 * time.Second })
	var warm sync.WaitGroup // so that each kind of read has a connection that goes silent
	for range 8 {
		warm.Go(func() {
			s.Find(ctx, "carrier", "ref")
			s.Projects(ctx)
			s.FinishDeletions(ctx)
		})
	}
	warm.Wait()
	w.Cut(true)
	asking, stop := context.WithCancel(ctx)
	defer stop()
	returned := map[string]chan error{}
	v, kind := reflect.ValueOf(s), reflect.TypeFor[context.Context]()
	for i := range v.NumMethod() {
		name, method := v.Type().Method(i).Name, v.Method(i)
		of := method.Type()
		if of.NumIn() == 0 || of.In(0) != kind || notAsked[name] {
			continue
		}
		args := []reflect.Value{reflect.ValueOf(asking)}
		for j := 1; j < of.NumIn() && !(of.IsVariadic() && j == of.NumIn()-1); j++ {
			args = append(args, sample(of.In(j)))
		}
		done := make(chan error, 1)
		returned[name] = done
		go func() {
			results := method.Call(args)
			err, _ := results[len(results)-1].Interface().(error)
			done <- err
		}()
	}
	if len(returned) < 30 {
		t.Errorf("only %d methods were found", len(returned))
	}
	deadline := time.After(time.Minute)
	for name, done := range returned {
		select {
		case err := <-done:
			away := errors.Is(err, verify.ErrNoStore) || errors.Is(err, verify.ErrBusy) || errors.Is(err, verify.ErrShareSpent)
			if !away {
				t.Errorf("%s: got error %v, want %v", name, err, verify.ErrNoStore)
			}
		case <-deadline:
			t.Errorf("%s and others haven't come back", name)
			return
		}
	}
}

// sample is a value that makes a method ask the database.
func sample(of reflect.Type) reflect.Value {
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(of.Elem()))
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).Set(sample(of.Elem()))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(of, 1, 1))
	case reflect.Uint8:
		v.SetUint(1)
	case reflect.Int:
		v.SetInt(1)
	case reflect.Struct:
		for i := range v.NumField() {
			if kind := of.Field(i).Type.Kind(); v.Field(i).CanSet() && (kind == reflect.Array || kind == reflect.Pointer || kind == reflect.Struct) {
				v.Field(i).Set(sample(of.Field(i).Type))
			}
		}
	}
	return v
}
