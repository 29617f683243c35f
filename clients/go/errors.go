package imgd

import (
	"context"
	"errors"
	"fmt"
	"time"

	imgdv1 "imgd.dev/go/imgd/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A reason counts with our domain only.
const domain = "imgd.dev"

// What kind of failure an [Error] is, for [errors.Is]. One for each gRPC code, one for an image that is in
// use, and one for a transfer that did not end well.
var (
	ErrCancelled          = errors.New("cancelled")
	ErrInvalidArgument    = errors.New("invalid argument")
	ErrDeadlineExceeded   = errors.New("deadline exceeded")
	ErrNotFound           = errors.New("not found")
	ErrAlreadyExists      = errors.New("already exists")
	ErrPermissionDenied   = errors.New("permission denied")
	ErrResourceExhausted  = errors.New("resource exhausted")
	ErrFailedPrecondition = errors.New("failed precondition")
	// ErrInUse is an ErrFailedPrecondition, too; the error's Holders are who uses the image.
	ErrInUse           = errors.New("image in use")
	ErrAborted         = errors.New("aborted")
	ErrOutOfRange      = errors.New("out of range")
	ErrUnimplemented   = errors.New("unimplemented")
	ErrInternal        = errors.New("internal")
	ErrUnavailable     = errors.New("unavailable")
	ErrDataLoss        = errors.New("data loss")
	ErrUnauthenticated = errors.New("unauthenticated")
	// ErrTransferFailed is a transfer that ended other than well; the error's Transfer is its record.
	ErrTransferFailed = errors.New("transfer failed")
)

var kinds = map[codes.Code]error{
	codes.Canceled:           ErrCancelled,
	codes.Unknown:            ErrInternal,
	codes.InvalidArgument:    ErrInvalidArgument,
	codes.DeadlineExceeded:   ErrDeadlineExceeded,
	codes.NotFound:           ErrNotFound,
	codes.AlreadyExists:      ErrAlreadyExists,
	codes.PermissionDenied:   ErrPermissionDenied,
	codes.ResourceExhausted:  ErrResourceExhausted,
	codes.FailedPrecondition: ErrFailedPrecondition,
	codes.Aborted:            ErrAborted,
	codes.OutOfRange:         ErrOutOfRange,
	codes.Unimplemented:      ErrUnimplemented,
	codes.Internal:           ErrInternal,
	codes.Unavailable:        ErrUnavailable,
	codes.DataLoss:           ErrDataLoss,
	codes.Unauthenticated:    ErrUnauthenticated,
}

// Error is a failed call, or a transfer that did not end well.
type Error struct {
	// Code is the gRPC code.
	Code codes.Code
	// Reason is the name of an ErrorReason without its prefix, such as IMAGE_NOT_FOUND; empty where none is
	// known, as for errors of gRPC itself.
	Reason string
	// Message says what happened, to what, and what to do next. It is for people.
	Message string
	// Metadata are further facts.
	Metadata map[string]string
	// Fields are the fields of the request that break a rule, with what is wrong.
	Fields []FieldViolation
	// Holders are what stands in the way, such as containers/web.
	Holders []Holder
	// ResourceType and ResourceName are the thing that is missing or in conflict.
	ResourceType, ResourceName string
	// RetryDelay is after how long trying again makes sense; negative where nothing is known about it.
	RetryDelay time.Duration
	// Transfer is the record of a transfer that did not end well; nil for a failed call.
	Transfer *imgdv1.Transfer
}

// FieldViolation is a field of the request that breaks a rule.
type FieldViolation struct{ Field, Description string }

// Holder is something that stands in the way: a CONTAINER, LEASE or PIN and its resource name.
type Holder struct{ Type, Subject, Description string }

// Error says what happened, and the reason.
func (e *Error) Error() string {
	name := e.Reason
	if name == "" {
		name = e.Code.String()
	}
	if e.Message == "" {
		return name
	}
	return fmt.Sprintf("%s (%s)", e.Message, name)
}

// Is tells [errors.Is] what kind of failure this is. A cancelled context's error is also
// [context.Canceled], and a deadline's [context.DeadlineExceeded].
func (e *Error) Is(target error) bool {
	if e.Transfer != nil {
		return target == ErrTransferFailed
	}
	switch target {
	case ErrInUse:
		return e.Reason == "IMAGE_IN_USE"
	case context.Canceled:
		return e.Code == codes.Canceled
	case context.DeadlineExceeded:
		return e.Code == codes.DeadlineExceeded
	}
	return target == kinds[e.Code]
}

// wrap makes an error of gRPC an *Error; others, and nil, stay as they are.
func wrap(err error) error {
	var have *Error
	if err == nil || errors.As(err, &have) || errors.Is(err, ErrUsage) {
		return err
	}
	found := status.Convert(err)
	said := &Error{Code: found.Code(), Message: found.Message(), RetryDelay: -1}
	switch {
	case errors.Is(err, context.Canceled):
		said.Code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		said.Code = codes.DeadlineExceeded
	}
	for _, detail := range found.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == domain {
				said.Reason, said.Metadata = detail.GetReason(), detail.GetMetadata()
			}
		case *errdetails.RetryInfo:
			said.RetryDelay = detail.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			for _, one := range detail.GetFieldViolations() {
				said.Fields = append(said.Fields, FieldViolation{one.GetField(), one.GetDescription()})
			}
		case *errdetails.PreconditionFailure:
			for _, one := range detail.GetViolations() {
				said.Holders = append(said.Holders, Holder{one.GetType(), one.GetSubject(), one.GetDescription()})
			}
		case *errdetails.ResourceInfo:
			said.ResourceType, said.ResourceName = detail.GetResourceType(), detail.GetResourceName()
		}
	}
	return said
}

// transferFailed is the error that a transfer's record tells of.
func transferFailed(transfer *imgdv1.Transfer) *Error {
	failure := transfer.GetOutcome().GetFailure()
	said := &Error{
		Code:       codes.Code(failure.GetCode()),
		Reason:     reasonName(failure.GetReason()),
		Message:    failure.GetMessage(),
		Metadata:   failure.GetMetadata(),
		RetryDelay: -1,
		Transfer:   transfer,
	}
	if said.Code == codes.OK {
		said.Code = codes.Unknown
	}
	if said.Message == "" {
		said.Message = fmt.Sprintf("%s ended as %s", transfer.GetName(), transfer.GetState())
	}
	if failure.GetRetryDelay() != nil {
		said.RetryDelay = failure.GetRetryDelay().AsDuration()
	}
	return said
}

// reasonName is empty for a reason that is not said, or newer than this client.
func reasonName(reason imgdv1.ErrorReason) string {
	const prefix = "ERROR_REASON_"
	name, known := imgdv1.ErrorReason_name[int32(reason)]
	if !known || reason == imgdv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return ""
	}
	return name[len(prefix):]
}
