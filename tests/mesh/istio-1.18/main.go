// Command istio is two programs of Istio's in one, for the mesh tests: which of them it is, its name says.
//
// One program and not two, since they share most of their code: it is compiled and linked once. Both are started as
// Istio's own main functions start them. Nothing in here is part of shifter.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata"

	istioctl "istio.io/istio/istioctl/cmd"
	discovery "istio.io/istio/pilot/cmd/pilot-discovery/app"
	"istio.io/pkg/log"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
	case "istioctl":
		if err := runIstioctl(); err != nil {
			os.Exit(istioctl.GetExitCode(err))
		}
	case "pilot-discovery":
		log.EnableKlogWithCobra()
		if err := discovery.NewRootCommand().Execute(); err != nil {
			log.Error(err)
			os.Exit(-1)
		}
	default:
		fmt.Fprintf(os.Stderr, "%s: call it istioctl or pilot-discovery\n", name)
		os.Exit(2)
	}
}

func runIstioctl() error {
	if err := istioctl.ConfigAndEnvProcessing(); err != nil {
		fmt.Fprintf(os.Stderr, "Could not initialize: %v\n", err)
		return err
	}
	command := istioctl.GetRootCmd(os.Args[1:])
	log.EnableKlogWithCobra()
	return command.Execute()
}
