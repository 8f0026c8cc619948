package controllers

import "github.com/mtls-operator/mtls-operator/api/v1alpha1"

// rotationStalls are the reasons of condition Stalled that the tests of rotations show.
var rotationStalls = []string{v1alpha1.ReasonRotationBlocked, v1alpha1.ReasonTooManyGenerations}

// rotationTells are the reasons of events that the tests of rotations show.
var rotationTells = []string{
	v1alpha1.ReasonGenerationMade, v1alpha1.ReasonGenerationSigns, v1alpha1.ReasonGenerationWithdrawn,
	v1alpha1.ReasonGenerationRetired, v1alpha1.ReasonRanOver,
}
