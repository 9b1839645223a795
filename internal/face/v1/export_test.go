package v1

// Routes are the API's routes: method and path.
func Routes() (all [][2]string) {
	for _, o := range (&Server{}).operations() {
		all = append(all, [2]string{o.method, o.path})
	}
	return all
}

var Register = register
